"""Mail of our own writing that looks like life: what `mimeportal demo` fills its portal with."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mimeportal_server import arrival, delivery, incoming, people
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal

ANN, BOB, CARLA = "ann@example.com", "bob@example.com", "carla@example.com"

# Beside the rules that every new home has: one for each kind of hold that the demonstration shows.
_RULES = """
[[hold]]
policy = "Impersonation Protection"
kind = "impersonation"
reason = "Message Hold Applied - Impersonation Protect policy"
level = "user"
subject = "*wire transfer*"

[[hold]]
policy = "Confidential Content"
kind = "content"
reason = "Message Hold Applied - Content Examination policy"
level = "moderator"
subject = "*salary*"

[[hold]]
policy = "Large Messages"
kind = "other"
reason = "Message Hold Applied - Message Size policy"
level = "administrator"
larger_than = 200000
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One message with its envelope; `hours` ago it came in."""

    envelope_from: str
    to: str
    octets: bytes
    hours: int


def make_home(path: Path) -> int:
    """A portal home with three people and some twenty messages, screened as from SMTP; how many are held.

    Ann moderates bob's mail; carla is an administrator. Raises `UsageError` for a folder that is not empty.
    """
    Home.create(path, "example.com").close()
    with (path / "portal.toml").open("a", encoding="utf-8") as config:
        config.write(_RULES)
    portal = Portal(Home.open(path))
    now = portal.clock.now()
    try:
        with portal.write() as tx:
            numbers = {
                address: people.add(tx, address, role=role, scopes=scopes, domains=("example.com",), now=now)[0]
                for address, role, scopes in (
                    (ANN, "user", (BOB,)),
                    (BOB, "user", ()),
                    (CARLA, "administrator", ()),
                )
            }
        batch = [
            incoming.parse(
                sample.octets,
                sample.envelope_from,
                recipients=[(numbers[sample.to], sample.to)],
                received=now - sample.hours * 3_600_000,
            )
            for sample in sorted(samples(), key=lambda sample: -sample.hours)
        ]
        results = arrival.accept(portal, batch, door="demo")
        delivery.deliver(portal)
    finally:
        portal.close()
    return sum(result.outcome == "held" for told in results for result in told)


def samples() -> Iterator[Sample]:
    """The messages."""
    yield _text(
        "bounce-4711@mailer.gardening.example",
        "Gardening Weekly <news@gardening.example>",
        "Ten things to do before the first frost",
        "Dear Ann,\n\nthis week: leaves, bulbs and a shed that lasts.\n\nYour Gardening Weekly\n",
        hours=5,
        spam=True,
        extra="List-Id: <weekly.gardening.example>\nList-Unsubscribe: <mailto:leave@gardening.example>\n",
    )
    yield _text(
        "bounce-4612@mailer.gardening.example",
        "Gardening Weekly <news@gardening.example>",
        "The quiet beauty of compost",
        "Dear Ann,\n\nturn it, water it, wait.\n\nYour Gardening Weekly\n",
        hours=173,
        spam=True,
        extra="List-Id: Gardening Weekly <weekly.gardening.example>\n",
    )
    yield _text(
        "winner77@lottery.example",
        "International Lottery Board <claims@lottery.example>",
        "You have WON 4,500,000.00 - claim number 77/XJ",
        "CONGRATULATIONS!!!\n\nYour address was drawn. To claim, send your bank details\nand a fee of 250.00.\n",
        hours=7,
        spam=True,
    )
    yield _text(
        "winner78@lottery.example",
        "International Lottery Board <claims@lottery.example>",
        "SECOND NOTICE: your prize expires today",
        "Dear winner,\n\nwe could not reach you. The handling fee is now 200.00.\n",
        hours=3,
        spam=True,
    )
    yield _text(
        "drsmith@pharmacy.example",
        '"Dr. Smith" <drsmith@pharmacy.example>',
        "=?utf-8?Q?P=C9=ABlls_at_half_price=E2=80=8B_today?=",
        "Visit http://pharmacy.example/cheap before midnight.\n",
        hours=30,
        spam=True,
    )
    yield _invoice()
    yield _text(
        "ceo.office@freemail.example",
        '"Carla (CEO)" <ceo.office@freemail.example>',
        "Urgent wire transfer, are you at your desk?",
        "Ann,\n\nI am in a meeting and need a payment made before noon. Reply here, do not call.\n\nCarla\n",
        hours=2,
    )
    yield _html_only()
    yield _japanese()
    yield _text(
        "x@hostile.example",
        "Terminal Trouble <x@hostile.example>",
        "Reset \x1b[2J\x1b]0;owned\x07your screen =?utf-8?Q?=E2=80=AEgpj.exe?=",
        "This subject tries to clear your screen and to turn its own letters round.\n",
        hours=20,
        spam=True,
    )
    yield _text(
        "=cmd@formula.example",
        "=HYPERLINK <formula@formula.example>",
        "=1+1 opens in a spreadsheet",
        "A subject that a spreadsheet would take for a formula.\n",
        hours=21,
        spam=True,
    )
    yield _text(
        "hr@partner.example",
        "Dana Recruiter <dana@partner.example>",
        "Salary bands for the new roles",
        "Hello Bob,\n\nattached to our talk on Tuesday: bands A to C.\n\nDana\n",
        to=BOB,
        hours=26,
    )
    yield _text(
        "hr@partner.example",
        "Dana Recruiter <dana@partner.example>",
        "Re: Salary bands, corrected",
        "Hello Bob,\n\nband B had a typing error. Please use this one.\n\nDana\n",
        to=BOB,
        hours=4,
    )
    yield _photos()
    yield _text(
        "eve@supplier.example",
        "Eve Supplier <eve@supplier.example>",
        "Order 2291 is on its way",
        "Hello Ann,\n\nyour order left us this morning.\n\nEve\n",
        hours=6,
    )
    yield _text(
        "tom@customer.example",
        "Tom Customer <tom@customer.example>",
        "Meeting on Thursday?",
        "Hi Ann,\n\nwould ten o'clock suit you?\n\nTom\n",
        hours=1,
    )
    yield _text(
        "tom@customer.example",
        "Tom Customer <tom@customer.example>",
        "Minutes of last week",
        "Hi Bob,\n\nthe minutes are below.\n\n- we agreed to meet again\n\nTom\n",
        to=BOB,
        hours=50,
    )
    yield _text(
        "",
        "Mail Delivery System <mailer-daemon@relay.example>",
        "Undelivered Mail Returned to Sender",
        "Your message to nobody@relay.example could not be delivered.\n",
        hours=12,
        extra="Auto-Submitted: auto-replied\n",
    )
    yield _text(
        "offers@travel.example",
        "Cheap Flights <offers@travel.example>, Hotels <hotels@travel.example>",
        "Two senders, one offer",
        "A From header with two addresses: whom would one block?\n",
        hours=40,
        spam=True,
    )
    yield _text(
        "survey@research.example",
        "=?iso-8859-1?Q?J=FCrgen_M=FCller?= <survey@research.example>",
        "=?iso-8859-1?Q?Zwei_Minuten_f=FCr_eine_Umfrage=3F?=",
        "Guten Tag Ann,\n\nwie zufrieden sind Sie mit Umfragen?\n",
        hours=60,
        spam=True,
    )


def _text(
    envelope_from: str,
    sender: str,
    subject: str,
    body: str,
    *,
    hours: int,
    to: str = ANN,
    spam: bool = False,
    extra: str = "",
) -> Sample:
    head = _head(sender, to, subject, hours) + extra + ("X-Spam-Flag: YES\n" if spam else "")
    octets = f"{head}Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{body}".encode()
    return Sample(envelope_from, to, octets, hours)


def _head(sender: str, to: str, subject: str, hours: int) -> str:
    domain = sender.rpartition("@")[2].rstrip(">")
    return (
        f"From: {sender}\nTo: {to}\nSubject: {subject}\n"
        f"Message-ID: <{hours}.{len(subject)}@{domain}>\nMIME-Version: 1.0\n"
    )


def _invoice() -> Sample:
    """An invoice that is a program: held for its attachment, whoever sent it."""
    boundary = "=-invoice-7"
    program = base64.encodebytes(b"MZ" + bytes(900)).decode()
    octets = (
        _head("Billing <billing@supplier.example>", ANN, "Invoice 2026-1187", 9)
        + f'Content-Type: multipart/mixed; boundary="{boundary}"\n\n'
        + f"--{boundary}\nContent-Type: text/plain\n\nPlease find our invoice attached.\n"
        + f'--{boundary}\nContent-Type: application/octet-stream; name="invoice.pdf.exe"\n'
        + 'Content-Disposition: attachment; filename="invoice.pdf.exe"\nContent-Transfer-Encoding: base64\n\n'
        + f"{program}--{boundary}--\n"
    )
    return Sample("billing@supplier.example", ANN, octets.encode(), 9)


def _html_only() -> Sample:
    octets = (
        _head("Parcel Service <track@parcels.example>", ANN, "Your parcel could not be delivered", 14)
        + "X-Spam-Flag: YES\nContent-Type: text/html; charset=utf-8\n\n"
        + '<html><body style="background:url(http://parcels.example/open.gif)">'
        + '<p>Dear customer, your parcel waits. <a href="http://parcels-login.example/pay">www.parcels.example</a></p>'
        + '<img src="http://parcels.example/pixel?to=ann" alt="logo"><script>alert(1)</script></body></html>\n'
    )
    return Sample("track@parcels.example", ANN, octets.encode(), 14)


def _japanese() -> Sample:
    def words(text: str) -> str:
        return f"=?iso-2022-jp?B?{base64.b64encode(text.encode('iso2022_jp')).decode()}?="

    head = _head(f"{words('花子')} <hanako@shop.example>", ANN, words("新商品のお知らせ"), 33)
    head += "X-Spam-Flag: YES\nContent-Type: text/plain; charset=iso-2022-jp\n\n"
    return Sample(
        "hanako@shop.example", ANN, head.encode() + "アンさん、新しい商品のお知らせです。\n".encode("iso2022_jp"), 33
    )


def _photos() -> Sample:
    """Large enough for the administrators' hold."""
    boundary = "=-photos-1"
    picture = base64.encodebytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 800).decode()
    octets = (
        _head("Uncle Fred <fred@family.example>", ANN, "Photos of the whole summer", 28)
        + f'Content-Type: multipart/mixed; boundary="{boundary}"\n\n'
        + f"--{boundary}\nContent-Type: text/plain\n\nHere they are, all of them!\n"
        + f'--{boundary}\nContent-Type: image/png; name="summer.png"\n'
        + 'Content-Disposition: attachment; filename="summer.png"\nContent-Transfer-Encoding: base64\n\n'
        + f"{picture}--{boundary}--\n"
    )
    return Sample("fred@family.example", ANN, octets.encode(), 28)
