// What test_review_pages.py asks of each page in the browser; each function returns what is at fault.
const channel = (c) => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
const luminance = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const rgba = (text) => (text.match(/[\d.]+/g) || []).map(Number);
const over = (c, paper) => { const a = c[3] ?? 1; return [0, 1, 2].map((i) => a * c[i] + (1 - a) * paper[i]); };
const ratio = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
const all = (selector) => [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility({ opacityProperty: true }));
const named = (elements) => elements.map((e) => e.outerHTML.slice(0, 80));

// The colour behind an element: its ancestors' backgrounds, one over the other.
function behind(element) {
  const layers = [];
  for (let e = element; e; e = e.parentElement) {
    const colour = rgba(getComputedStyle(e).backgroundColor);
    layers.push(colour);
    if (colour.length === 3 || colour[3] === 1) break;
  }
  return layers.reverse().reduce((paper, colour) => over(colour, paper), [255, 255, 255]);
}

// WCAG 1.4.3: text has a contrast of 4.5 to 1, large text of 3 to 1; what is disabled is free.
function contrast() {
  const bad = [];
  for (const e of all("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || e.closest(".unseen, .skip, :disabled")) continue;
    const style = getComputedStyle(e), svg = e.closest("svg"), paper = behind(svg ? svg.parentElement : e);
    const ink = over(rgba(svg ? style.fill : style.color), paper), size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5, found = ratio(ink, paper);
    if (found < least) bad.push(`${e.tagName} "${e.textContent.trim().slice(0, 30)}" ${found.toFixed(2)}`);
  }
  return bad;
}

// WCAG 1.4.11: a field is told from the page by an edge of 3 to 1. (A button is told by its words.)
function edges() {
  const fields = all("input:not([type=radio], [type=checkbox], [type=range]), select, textarea").filter((e) => !e.matches(".unseen"));
  return named(fields.filter((e) => ratio(rgba(getComputedStyle(e).borderTopColor), behind(e.parentElement)) < 3));
}

// WCAG 4.1.2, 1.1.1: everything that can be used, and every picture, has a name.
function nameless() {
  const found = all("button, a, input:not([type=hidden]), select, textarea, svg, progress, img");
  const name = (e) => e.textContent.trim() || e.labels?.length || ["aria-label", "aria-labelledby", "alt"].some((a) => e.getAttribute(a));
  return named(found.filter((e) => !e.closest("[aria-hidden=true]") && !name(e)));
}

// WCAG 1.4.10: nothing is wider than the screen, or than the box it stands in, but what has its own scroll bar.
function cut() {
  const free = ".unseen, .scroll, .frame, select, textarea, input, details:not([open])";
  const wide = (e) => getComputedStyle(e).display !== "inline" && e.scrollWidth > e.clientWidth + 1;
  const found = [document.documentElement, ...all("header *, main *:not(svg *)")].filter((e) => !e.closest(free));
  return named(found.filter((e) => wide(e) || e.getBoundingClientRect().right > innerWidth + 1));
}

// WCAG 2.5.8: what is pressed is at least 24 pixels wide and high.
function small() {
  const found = all("button:not(.plain), .button, select, input:not([type=radio], [type=checkbox], [type=range], .unseen)");
  return named(found.filter((e) => Math.min(e.getBoundingClientRect().height, e.getBoundingClientRect().width) < 24));
}

// Words of the drawing that leave its frame, and labels that lie over each other (a line of 12.5 pixels has a box of 17).
function drawing() {
  const outside = all("svg.timeline text").filter((e) => {
    const box = e.getBBox(), frame = e.ownerSVGElement.viewBox.baseVal;
    return box.x < -1 || box.x + box.width > frame.width + 1 || box.y < -1 || box.y + box.height > frame.height + 1;
  });
  const labels = all("svg.timeline .label, svg.timeline .sub").map((e) => [e.textContent, e.getBBox()]);
  const meet = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y + 4 < b.y + b.height && b.y + 4 < a.y + a.height;
  const pairs = labels.flatMap(([x, a], i) => labels.slice(i + 1).filter(([, b]) => meet(a, b)).map(([y]) => `${x} over ${y}`));
  return [...outside.map((e) => `${e.textContent} leaves the frame`), ...pairs];
}

// One heading of the first level, the first of all; a language, a title, and the banner.
function order() {
  const levels = all("h1, h2, h3").map((e) => Number(e.tagName[1])), bad = [];
  if (levels[0] !== 1 || levels.filter((l) => l === 1).length !== 1) bad.push(`headings ${levels}`);
  if (document.documentElement.lang !== "en" || !document.title) bad.push("no language or no title");
  if (!/SYNTHETIC|INTERNAL/.test(document.querySelector(".band").textContent)) bad.push("no banner");
  return bad;
}

// Where the tab key has led: nothing where the browser itself has the focus; else what hides its focus.
function reached() {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  e.dataset.reached = "yes";
  const style = getComputedStyle(e);
  return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 ? [] : named([e]);
}

function unreached() {
  const found = all("a[href], button:not(:disabled), input:not([type=hidden]), select, textarea, summary");
  const group = (e) => e.type === "radio" && [...document.getElementsByName(e.name)].some((r) => r.dataset.reached);
  return named(found.filter((e) => e.tabIndex >= 0 && !e.dataset.reached && !group(e) && !e.closest("dialog:not([open])")));
}
