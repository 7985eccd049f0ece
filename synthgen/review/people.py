"""Who works here: four roles, and signing in with a throttle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import sqlalchemy as sa

from privacy.errors import ConfigError
from synthgen.review import passwords
from synthgen.review.tables import FAILURES, PEOPLE, SESSIONS

if TYPE_CHECKING:
    from synthgen.review.database import Database, Write

Role = Literal["scientist", "specialist", "officer", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
NAME = re.compile(r"[a-z][a-z0-9._-]{1,31}")

WINDOW = 15 * 60.0
FREE_TRIES, MOST_FROM_ADDRESS = 5, 60
"""Wrong passwords within the window: from the sixth on, a name waits; from the sixty-first, an address."""


@dataclass(frozen=True)
class Person:
    """Somebody with an account. `temporary`: the password was chosen by whoever made the account."""

    id: int
    name: str
    role: Role
    active: bool
    public_key: str | None = None
    temporary: bool = False

    @classmethod
    def of(cls, row: Any) -> Person:
        """From a row of `people`."""
        return cls(row.id, row.name, row.role, row.active, row.public_key, row.temporary)


class SignInRefused(Exception):
    """Wrong name or password, or too many tries: then `wait` says for how many seconds."""

    def __init__(self, wait: float = 0.0) -> None:
        self.wait = wait
        super().__init__("sign-in refused")


def add(database: Database, name: str, role: str, password: str, by: str, temporary: bool = True) -> Person:
    """A new account. An officer's signing key is made with the first password that is the officer's own.

    Args:
        temporary: whether `by` knows the password. It then opens nothing before the person has chosen another: an administrator
            could sign releases in an officer's name otherwise.

    Raises:
        ConfigError: for a name in use or of another form, an unknown role, a password too short.
    """
    if not NAME.fullmatch(name):
        raise ConfigError("a person's name is 2 to 32 of a-z, 0-9, dot, dash and underscore, and begins with a letter")
    if role not in ROLES:
        raise ConfigError(f"the roles are {', '.join(ROLES)}")
    public, sealed = _key_of(role, password) if not temporary else (None, None)
    stored = passwords.hashed(password)
    with database.write() as write:
        if named(write.connection, name):
            raise ConfigError(f"{name}: somebody has this name already")
        row = {"name": name, "role": role, "password": stored, "active": True, "made_at": write.now}
        row |= {"public_key": public, "sealed_key": sealed, "temporary": temporary}
        write.connection.execute(PEOPLE.insert().values(**row))
        write.log("person added", by, person=name, role=role, **({"public_key": public} if public else {}))
        found = named(write.connection, name)
    assert found is not None
    return found


def everybody(connection: sa.Connection) -> list[Person]:
    """All accounts, by name."""
    return [Person.of(row) for row in connection.execute(sa.select(PEOPLE).order_by(PEOPLE.c.name))]


def names(connection: sa.Connection) -> dict[int, str]:
    """Id -> name."""
    return {person.id: person.name for person in everybody(connection)}


def named(connection: sa.Connection, name: str) -> Person | None:
    """The person with this name."""
    row = connection.execute(sa.select(PEOPLE).where(PEOPLE.c.name == name)).first()
    return Person.of(row) if row else None


def sign_in(database: Database, name: str, password: str, address: str, entry: str = "sign-in") -> Person:
    """The person whose name and password these are; `entry` is what the log calls it.

    Raises:
        SignInRefused: with the same answer, after the same time, for a wrong name and for a wrong password.
    """
    with database.read() as connection:
        row = connection.execute(sa.select(PEOPLE).where(PEOPLE.c.name == name)).first()
    with database.write() as write:
        wait = _wait(write, name, address)
        if wait <= 0:  # counted before it is checked, so that tries sent at once are all counted
            write.connection.execute(FAILURES.insert().values(name=name[:64], address=address, at=write.now))
    if wait > 0:
        raise SignInRefused(wait)
    right = passwords.matches(password, row.password if row else None)
    with database.write() as write:
        if not right or row is None or not row.active:
            write.log(f"{entry} refused", name if row else "(nobody)", address=address)
        else:
            write.connection.execute(FAILURES.delete().where(FAILURES.c.name == name))
            write.log(entry, name, address=address)
    if not right or row is None or not row.active:
        raise SignInRefused
    return Person.of(row)


def confirm(database: Database, person: Person, password: str, address: str) -> None:
    """Re-authentication before something grave. Raises SignInRefused."""
    sign_in(database, person.name, password, address, "password confirmed")


def change_password(database: Database, person: Person, old: str, new: str, address: str) -> None:
    """A new password; every session of the person ends. Raises SignInRefused and, for a bad new one, ConfigError."""
    confirm(database, person, old, address)
    if new == old:
        raise ConfigError("the new password is the old one; choose another")
    stored = passwords.hashed(new)
    with database.write() as write:
        row = write.connection.execute(sa.select(PEOPLE).where(PEOPLE.c.id == person.id)).one()
        values: dict[str, Any] = {"password": stored, "temporary": False}
        if row.sealed_key:
            values["sealed_key"] = passwords.resealed(row.sealed_key, old, new)
        elif row.temporary:
            values["public_key"], values["sealed_key"] = _key_of(row.role, new)
        write.connection.execute(PEOPLE.update().where(PEOPLE.c.id == person.id).values(**values))
        write.connection.execute(SESSIONS.delete().where(SESSIONS.c.person_id == person.id))
        public = values.get("public_key")
        write.log("password changed", person.name, **({"public_key": public} if public else {}))


def set_active(database: Database, name: str, active: bool, by: str) -> None:
    """Closes or opens an account; its sessions end. Raises ConfigError for nobody, or for one's own."""
    with database.write() as write:
        person = named(write.connection, name)
        if person is None or person.name == by:
            raise ConfigError("nobody can close their own account, nor one that does not exist")
        write.connection.execute(PEOPLE.update().where(PEOPLE.c.id == person.id).values(active=active))
        write.connection.execute(SESSIONS.delete().where(SESSIONS.c.person_id == person.id))
        write.log("account opened" if active else "account closed", by, person=name)


def _key_of(role: str, password: str) -> tuple[str | None, str | None]:
    """An officer's new signing key, (public, sealed); nobody else has one."""
    return passwords.new_signing_key(password) if role == "officer" else (None, None)


def _wait(write: Write, name: str, address: str) -> float:
    """Seconds to wait before the next try: doubling with each wrong password of a name, in this window."""
    since = write.now - WINDOW
    write.connection.execute(FAILURES.delete().where(FAILURES.c.at < since))
    of_name = write.connection.execute(
        sa.select(sa.func.count(), sa.func.max(FAILURES.c.at)).where(FAILURES.c.name == name[:64])
    ).one()
    of_address = write.connection.execute(
        sa.select(sa.func.count(), sa.func.max(FAILURES.c.at)).where(FAILURES.c.address == address)
    ).one()
    wait = 0.0
    if of_name[0] >= FREE_TRIES:
        wait = of_name[1] + min(WINDOW, 2.0 ** (of_name[0] - FREE_TRIES + 2)) - write.now
    if of_address[0] >= MOST_FROM_ADDRESS:
        wait = max(wait, of_address[1] + 60.0 - write.now)
    return wait
