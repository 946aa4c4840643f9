"""Every opaque thing the portal hands out: ids, page tokens, and one-time secrets (promises E.2, E.4)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import zlib
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, or_, select, update

from mimeportal import limits
from mimeportal_server.store.schema import people, tokens

_MADE = 20_000
_LASTING = -1  # in place of an epoch
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")


class InvalidToken(Exception):
    """`0007 Invalid token`: malformed, tampered with, of another kind, caller or query."""


class Sealer:
    """Makes and checks ids and page tokens: url-safe base64 of zlib of JSON, with a MAC inside."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.new(key, b"mimeportal ids and page tokens", hashlib.sha256).digest()
        self._made: dict[str, tuple[str, int]] = {}  # ids made lately: mostly these come back, and are ours

    def id(self, kind: str, number: int) -> str:
        """The id of an object: the same for every caller (mimecast-api-core 1.7, 11.11)."""
        id = _pack(self._id_text(kind, number))
        if len(self._made) >= _MADE:
            self._made = {}
        self._made[id] = (kind, number)
        return id

    def _id_text(self, kind: str, number: int) -> str:
        # Written out: lists make one id a row, and nothing here needs escaping.
        mac = self._sealed(f'["{kind}","{number}"]')
        return f'{{"secureid":"{mac}","hldqid":"{number}","tmnd":"{kind}","version":1,"tnde":"0","queue_id":"{kind}"}}'

    def number(self, kind: str, id: str) -> int:
        """The number of the object an id names. Raises `InvalidToken`."""
        made = self._made.get(id)
        if made is not None and made[0] == kind:
            return made[1]
        text, content = _unpack(id)
        number = content.get("hldqid")
        if not isinstance(number, str) or not number.isdecimal():
            raise InvalidToken
        _only(self._id_text(kind, int(number)), text)  # the MAC is part of what is compared
        return int(number)

    def page(self, caller: str, query: str, start: dict[str, Any], size: int, *, previous: bool) -> str:
        """A page token: it carries the page size and where the page starts, for this caller and query."""
        return _pack(self._page_text(caller, query, start, size, previous=previous))

    def _page_text(self, caller: str, query: str, start: dict[str, Any], size: int, *, previous: bool) -> str:
        position = json.dumps(start, separators=(",", ":"))
        content = {
            "pagesizeid": size,
            "previousPage": previous,
            "tmtpagetoken": base64.urlsafe_b64encode(position.encode()).decode(),
            "version": 1,
            "recordstartid": self._mac("page", caller, query, str(size), position),
        }
        return json.dumps(content, separators=(",", ":"))

    def start(self, caller: str, query: str, token: str) -> tuple[dict[str, Any], int]:
        """Where the page of a token starts, and its size. Raises `InvalidToken`."""
        text, content = _unpack(token)
        try:
            start = json.loads(base64.urlsafe_b64decode(content["tmtpagetoken"]))
            size = int(content["pagesizeid"])
            _only(self._page_text(caller, query, start, size, previous="before" in start), text)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise InvalidToken from None
        return start, size

    def secret(self, kind: str, name: str) -> str:
        """The secret that goes with a name, such as the secret key of an access key: base64 of 64 octets.

        It is derived from the home's key and stored nowhere, so no copy of the database gives it away.
        """
        return base64.b64encode(hmac.digest(self._key, json.dumps([kind, name]).encode(), "sha512")).decode()

    def _mac(self, *parts: str) -> str:
        return self._sealed(json.dumps(parts))

    def _sealed(self, text: str) -> str:
        return base64.b64encode(hmac.digest(self._key, text.encode(), "sha256")).decode()


def _pack(text: str) -> str:
    # Level 9 gives the header that ids have; the smallest working memory is enough for so few octets.
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 1)
    octets = packer.compress(text.encode()) + packer.flush()
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _unpack(token: str) -> tuple[str, dict[str, Any]]:
    if len(token) > limits.OPAQUE_TOKEN or not _TOKEN.fullmatch(token):
        raise InvalidToken
    try:
        packed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        if base64.urlsafe_b64encode(packed).rstrip(b"=").decode() != token:
            raise InvalidToken  # letters too many, or bits that stand for nothing
        inflater = zlib.decompressobj()
        octets = inflater.decompress(packed, limits.OPAQUE_TOKEN)
        if inflater.unconsumed_tail or inflater.unused_data or not inflater.eof:
            raise InvalidToken
        text = octets.decode()
        content = json.loads(text)
    except (ValueError, zlib.error, RecursionError):
        raise InvalidToken from None
    if not isinstance(content, dict):
        raise InvalidToken
    return text, content


def _only(ours: str, text: str) -> None:
    """The same could be said in many ways; only ours is accepted, MAC and all. How it is packed is zlib's affair."""
    if not hmac.compare_digest(ours.encode(), text.encode()):
        raise InvalidToken


def issue(
    tx: Connection,
    purpose: str,
    person_id: int,
    *,
    object: str = "",
    expires: int,
    uses: int = 1,
    lasting: bool = False,
) -> str:
    """A new secret of 256 random bits; stored is its hash alone, bound to purpose, person and epoch.

    One that is `lasting` outlives the person's epoch: it opens to others what the person shared with them, and is no
    log-in of theirs. It ends when they are disabled, and by a restore.
    """
    secret = secrets.token_urlsafe(32)
    epoch = _LASTING if lasting else tx.scalar(select(people.c.epoch).where(people.c.id == person_id))
    tx.execute(
        tokens.insert(),
        {
            "hash": digest(secret),
            "purpose": purpose,
            "person_id": person_id,
            "object": object,
            "epoch": epoch,
            "expires": expires,
            "uses_left": uses,
        },
    )
    return secret


def valid(tx: Connection, secret: str, purpose: str, *, now: int) -> int | None:
    """The person a secret stands for; None when it is unknown, used up, expired or of an older epoch."""
    found = granted(tx, secret, purpose, now=now)
    return found.person_id if found else None


def granted(
    tx: Connection, secret: str, purpose: str, *, now: int, any_epoch: bool = False
) -> Row[Any, Any, Any] | None:
    """As `valid`, with all it stands for: `person_id`, the person's `address`, the `object`.

    `any_epoch` is for what only says where to go, and lets nobody in.
    """
    query = (
        select(tokens.c.person_id, people.c.address, tokens.c.object)
        .join(people, people.c.id == tokens.c.person_id)
        .where(
            tokens.c.hash == digest(secret),
            tokens.c.purpose == purpose,
            tokens.c.expires > now,
            tokens.c.uses_left > 0,
        )
    )
    lasts = and_(tokens.c.epoch == _LASTING, people.c.disabled.is_(False))
    return tx.execute(query if any_epoch else query.where(or_(tokens.c.epoch == people.c.epoch, lasts))).first()


def spend(tx: Connection, secret: str, purpose: str, *, now: int) -> int | None:
    """As `valid`, and one use of it is gone."""
    person = valid(tx, secret, purpose, now=now)
    if person is not None:
        tx.execute(update(tokens).where(tokens.c.hash == digest(secret)).values(uses_left=tokens.c.uses_left - 1))
    return person


def end_lasting(tx: Connection) -> None:
    """End what outlives epochs: a restore may have brought back what was ended since."""
    tx.execute(delete(tokens).where(tokens.c.epoch == _LASTING))


def digest(secret: str) -> str:
    """What is stored of a secret that has 256 random bits or more."""
    return hashlib.sha256(secret.encode()).hexdigest()
