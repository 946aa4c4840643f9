"""A message as a page for the printer: its headers, its text, the list of its attachments, and nothing to load."""

from __future__ import annotations

from html import escape

from mimeportal.untrusted import visible
from mimeportal_cli import reading

# The only styles that the page's own policy lets apply (`html_page`).
STYLE = (
    "body{font:11pt/1.4 sans-serif;margin:2em auto;max-width:48em;padding:0 1em;color:#000;background:#fff}"
    "h1{font-size:1.5em;line-height:1.25;margin:0 0 .75em;text-align:left;overflow-wrap:anywhere}"
    "table.headers{border-collapse:collapse;width:100%;margin-bottom:1.5em;border-bottom:1px solid #888}"
    "table.headers th{text-align:left;vertical-align:top;padding:.1em 1em .1em 0;white-space:nowrap;width:1%}"
    "table.headers td{padding:.1em 0;overflow-wrap:anywhere}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;font:10pt/1.4 monospace}"
    "img{max-width:100%;height:auto}"
    "div.attachments{margin-top:1.5em;border-top:1px solid #888}"
    "div.attachments h2{font-size:1em;margin:.75em 0 .25em}"
    "div.attachments table{border-collapse:collapse}"
    "div.attachments td{vertical-align:top;padding:.1em 1em .1em 0;overflow-wrap:anywhere}"
    "div.attachments td+td{white-space:nowrap;overflow-wrap:normal}"
    "@media print{body{margin:0;max-width:none;padding:0}table.headers{break-inside:avoid}a{color:#000}}"
    "@page{margin:18mm}"
)


def printed(shown: reading.Shown) -> str:
    """The body of the page; everything in it is escaped, or made safe."""
    message = shown.message
    facts = [(name, " ".join(value.split())) for name, value in message.headers if name.lower() in reading.HEADERS]
    facts += [entry for entry in shown.facts if entry[0] != "Reference"]
    subject = next((value for name, value in facts if name.lower() == "subject"), "") or "(no subject)"
    lines = "".join(
        f'<tr><th scope="row">{escape(visible(name))}</th><td>{escape(visible(value))}</td></tr>'
        for name, value in facts
        if name.lower() != "subject"
    )
    notes = "".join(f"<p>Note: {escape(visible(note))}</p>" for note in message.notes)
    return (
        f'<h1 dir="auto">{escape(visible(subject))}</h1>\n<table class="headers">{lines}</table>\n{notes}'
        f'<div class="body" dir="auto">\n'
        f"{reading.body_of_page(shown)}\n</div>{_attachments(message)}"
    )


def _attachments(message: reading.Content) -> str:
    if not message.attachments:
        return ""
    lines = "".join(
        f"<tr><td>{escape(visible(entry.name))}</td><td>{escape(visible(entry.content_type))}</td>"
        f"<td>{entry.size:,} octets</td></tr>"
        for entry in message.attachments
    )
    return f'\n<div class="attachments"><h2>Attachments</h2><table>{lines}</table></div>'
