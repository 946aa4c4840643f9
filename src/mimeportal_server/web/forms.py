"""What a form of a page sends: fields, and files that are put down on disk while they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from mimeportal import limits
from mimeportal.untrusted import clean
from mimeportal_server.portal import Refused
from mimeportal_server.web.route import Route

_UNREADABLE = "The form cannot be read."


@dataclass(frozen=True, slots=True)
class Sent:
    """One file of a form; `name` is what the browser calls it, and hostile."""

    name: str
    type: str
    size: int
    file: BinaryIO


@dataclass(slots=True)
class Form:
    """The fields of a form in their order, and its files. Of a name that stands twice `get` gives the last."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    files: list[Sent] = field(default_factory=list)

    def get(self, name: str) -> str:
        """A field, "" where it is none."""
        return next((value for known, value in reversed(self.fields) if known == name), "")

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.fields if known == name]

    def close(self) -> None:
        """Let go of the files."""
        for sent in self.files:
            sent.file.close()


def read_fields(text: bytes) -> Form:
    """A form, or a query, without files. Raises `Refused`."""
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=limits.PAGE_FIELDS)
    except (UnicodeDecodeError, ValueError):
        raise Refused("err_request_malformed", _UNREADABLE, status=400) from None
    return Form([(clean(name), clean(value)) for name, value in pairs])


async def read_form(route: Route, content_type: str, pieces: AsyncIterator[bytes]) -> Form:
    """The body of a POST to a page. Files are only taken where the route takes them. Raises `Refused`.

    Files over 1 MiB lie on disk, without a name, until the form is closed.
    """
    if not _in_parts(content_type):
        return read_fields(b"".join([piece async for piece in pieces]))
    parser = _parser(content_type, pieces, limits.PAGE_FILES if route.files else 0)
    try:
        await parser.parse()
    except (MultiPartException, KeyError, ValueError) as fault:
        sentence = fault.message if isinstance(fault, MultiPartException) else _UNREADABLE
        raise Refused("err_request_malformed", sentence, status=400) from None
    return _form(parser)


async def read_text(content_type: str, pieces: AsyncIterator[bytes]) -> Form:
    """The fields of a form before its first file, to give back what somebody wrote; nothing where it is no form."""
    if not _in_parts(content_type):
        return Form()
    parser = _parser(content_type, pieces, 0)
    with suppress(MultiPartException, KeyError, ValueError):
        await parser.parse()
    return _form(parser)


def _in_parts(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def _parser(content_type: str, pieces: AsyncIterator[bytes], files: int) -> MultiPartParser:
    async def stream() -> AsyncGenerator[bytes, None]:
        async for piece in pieces:
            yield piece

    headers = Headers({"content-type": content_type})
    return MultiPartParser(
        headers, stream(), max_files=files, max_fields=limits.PAGE_FIELDS, max_part_size=limits.JSON_BODY
    )


def _form(parser: MultiPartParser) -> Form:
    form = Form()
    for name, value in parser.items:
        if not isinstance(value, UploadFile):
            form.fields.append((clean(name), clean(value)))
        elif value.filename:
            sent = Sent(clean(value.filename), value.content_type or "", value.size or 0, value.file)
            form.files.append(sent)
        else:
            value.file.close()  # a browser sends one without a name where no file was chosen
    return form
