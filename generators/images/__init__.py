"""Medical pictures by denoising diffusion, under privacy from noisy moments and DP-SGD."""

from generators.images.contact_sheet import contact_sheet, write_contact_sheet
from generators.images.generator import ImageDiffusion

__all__ = ["ImageDiffusion", "contact_sheet", "write_contact_sheet"]
