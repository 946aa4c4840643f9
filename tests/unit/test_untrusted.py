"""Hostile text: what each way out of the program lets through, and what it does not."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimeportal import limits
from mimeportal.errors import UsageError
from mimeportal.untrusted import (
    cell,
    clean,
    header_value,
    safe_name,
    uncell,
    visible,
    visible_lines,
)
from mimeportal.untrusted_html import html_page, html_to_text, safe_html

ANY_TEXT = st.text(st.characters(exclude_categories=()))
HARMLESS = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Cn", "Co", "Mn", "Lo", "Zl", "Zp")))
PNG = b"\x89PNG\r\n\x1a\nrest"


def shows(character: str) -> bool:
    """Whether Unicode says that a character neither acts nor hides."""
    return unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")


class TestClean:
    def test_ordinary_text_is_itself(self) -> None:
        for text in ("", "plain\n\ttext", "naïve 😀"):
            assert clean(text) == text

    def test_nul_and_each_lone_surrogate_become_one_replacement(self) -> None:
        assert clean("a\x00b\ud800\udfffc") == "a\ufffdb\ufffd\ufffdc"

    @given(ANY_TEXT)
    def test_what_comes_out_can_be_stored(self, text: str) -> None:
        assert "\x00" not in clean(text)
        clean(text).encode("utf-8")
        assert len(clean(text)) == len(text)


class TestVisible:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("\x1b[31mred", r"\x1b[31mred"),
            ("a\nb\tc\rd", r"a\nb\tc\rd"),
            ("\x00\x07\x7f\x9b", r"\x00\x07\x7f\x9b"),
            ("gpj\u202eexe", r"gpj\u202eexe"),
            ("\u2066\u2069\u061c", r"\u2066\u2069\u061c"),
            ("pay\u200bpal\ufeff", r"pay\u200bpal\ufeff"),
            ("\U000e0041\U000e007f", r"\U000e0041\U000e007f"),
            ("\u2028\u2029\xad\ufe0f\u3164", r"\u2028\u2029\xad\ufe0f\u3164"),
            ("\ud800", r"\ud800"),
            ("Grüße 漢字 😀 é", "Grüße 漢字 😀 é"),
            (r"C:\new", r"C:\new"),
        ],
    )
    def test_what_acts_or_hides_is_an_escape(self, text: str, shown: str) -> None:
        assert visible(text) == shown

    @given(ANY_TEXT)
    def test_nothing_that_acts_is_left(self, text: str) -> None:
        shown = visible(text)
        assert all(shows(character) for character in shown)
        assert not any(unicodedata.bidirectional(character) in ("RLO", "LRO", "RLE", "LRE") for character in shown)
        assert visible(shown) == shown
        assert len(shown.splitlines()) <= 1

    def test_every_control_and_every_default_ignorable_format_character(self) -> None:
        # Cf holds a few characters that do show: number signs of Arabic, Syriac, Kaithi, Egyptian signs.
        showing = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
        for code in range(sys.maxunicode + 1):
            character = chr(code)
            category = unicodedata.category(character)
            if category == "Cc" or (category == "Cf" and code not in showing and not 0x13430 <= code <= 0x1345F):
                assert visible(character) != character, f"U+{code:04X}"

    def test_lines_of_a_body_stay(self) -> None:
        assert visible_lines("a\r\nb\nc\x1b\rd") == "a\nb\nc\\x1b\\rd"


class TestCell:
    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "\t=1", "\rx", "\n=1", "\u00a0@x"])
    @pytest.mark.parametrize("width", ["half", "full"])
    def test_no_cell_is_a_formula(self, text: str, width: str) -> None:
        if width == "full":
            text = text.translate({ord(sign): ord(sign) + 0xFEE0 for sign in "=+-@"}).replace(" ", "\u3000")
        assert cell(text).startswith("'")

    @pytest.mark.parametrize("text", ["", "plain", "a=b", "'quoted'", "1-2", "two\nlines", "a@b.example", "a\uff1db"])
    def test_other_text_is_itself(self, text: str) -> None:
        assert cell(text) == text
        assert uncell(text) == text

    @given(st.text("'=+-@\uff1d\uff0b\uff0d\uff20 \u3000ab\\tr\n"))
    def test_uncell_undoes_cell_where_it_is_tempting(self, text: str) -> None:
        assert uncell(cell(text)) == text

    @given(HARMLESS)
    def test_uncell_undoes_cell(self, text: str) -> None:
        assert uncell(cell(text)) == text

    @given(ANY_TEXT)
    def test_nothing_that_acts_is_left_but_newlines(self, text: str) -> None:
        assert all(shows(character) for character in cell(text).replace("\n", ""))
        assert cell(text).lstrip()[:1] not in set("=+-@\uff1d\uff0b\uff0d\uff20")

    def test_through_a_csv_file_and_back(self) -> None:
        texts = ["=cmd|' /C calc'!A0", 'a "b"\nc', "'=1", "-", "''-", "\u3000\uff1d1"]
        stream = io.StringIO()
        csv.writer(stream).writerow([cell(text) for text in texts])
        stream.seek(0)
        assert [uncell(text) for text in next(csv.reader(stream))] == texts


class TestSafeName:
    @pytest.mark.parametrize(
        ("name", "safe"),
        [
            ("report.pdf", "report.pdf"),
            ("Übersicht 漢字.pdf", "Übersicht 漢字.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Windows\\system32\\evil.dll", "evil.dll"),
            ("..", "attachment"),
            ("", "attachment"),
            ("/", "attachment"),
            (". . .", "attachment"),
            ("???", "attachment"),
            (".bashrc", "bashrc"),
            ("name. . ", "name"),
            ("a\x00b\nc\x1b.txt", "a_b_c_.txt"),
            ("cod\u202efdp.exe", "cod_fdp.exe"),
            ('a<b>c:d"e|f?g*.txt', "a_b_c_d_e_f_g_.txt"),
            ("CON", "_CON"),
            ("nul.txt", "_nul.txt"),
            ("com1 .log", "_com1 .log"),
            ("LPT¹.txt", "_LPT¹.txt"),
            ("console.txt", "console.txt"),
            ("-rf", "_-rf"),
            ("invoice.pdf                      .exe", "invoice.pdf .exe"),
            ("e\u0301.txt", "é.txt"),
        ],
    )
    def test_examples(self, name: str, safe: str) -> None:
        assert safe_name(name) == safe

    def test_a_long_name_keeps_its_extension(self) -> None:
        safe = safe_name("漢" * 300 + ".tar.gz")
        assert safe.endswith(".gz")
        assert 190 <= len(safe.encode()) <= 200

    def test_a_long_extension_is_none(self) -> None:
        assert len(safe_name("a." + "b" * 5000).encode()) == 200

    def test_fallback(self) -> None:
        assert safe_name("..", fallback="message-1.eml") == "message-1.eml"

    @given(ANY_TEXT)
    def test_always_one_plain_name(self, name: str) -> None:
        safe = safe_name(name)
        assert safe
        assert not set(safe) & set('/\\\x00<>:"|?*\n\r\t')
        assert safe[0] not in ".- "
        assert safe[-1] not in ". "
        assert len(safe.encode()) <= 200
        assert visible(safe) == safe
        assert safe_name(safe) == safe


class TestHeaderValue:
    @pytest.mark.parametrize("bad", ["\r", "\n", "\x00", "\x0b", "\x85", "\u2028"])
    def test_a_line_end_is_refused_by_name(self, bad: str) -> None:
        with pytest.raises(UsageError, match="Subject"):
            header_value(f"Hello{bad}Bcc: all@example.com", name="Subject")

    def test_other_text_is_stripped(self) -> None:
        assert header_value("  Grüße\tan alle ") == "Grüße\tan alle"


class TestSafeHtml:
    @pytest.mark.parametrize(
        "hostile",
        [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "<svg onload=alert(1)><circle/></svg>",
            "<math><mi xlink:href='javascript:alert(1)'>x</mi></math>",
            "<iframe src='https://evil.example'></iframe>",
            "<object data=x></object><embed src=x>",
            "<base href='https://evil.example/'>",
            "<meta http-equiv=refresh content='0;url=https://evil.example'>",
            "<link rel=stylesheet href='https://evil.example/x.css'>",
            "<style>body{background:url(https://evil.example)}</style>",
            "<p style='background:url(https://evil.example)' class=x id=y>t</p>",
            "<form action='https://evil.example'><input name=password></form>",
            "<table background='https://evil.example/x.gif'><tr><td>t</td></tr></table>",
            "<a href='javascript:alert(1)'>t</a>",
            "<a href='data:text/html,x'>t</a>",
            "<a href=' java\nscript:alert(1)'>t</a>",
            "<a href='/relative'>t</a><a href='//evil.example'>t</a><a href='x.html'>t</a>",
            "<img src='data:image/svg+xml,x'><img src='relative.png'><img src='file:///etc/passwd'>",
            "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
            "<!--><script>alert(1)</script>-->",
            "<textarea><img title='</textarea><img src=x onerror=alert(1)>'>",
        ],
    )
    def test_nothing_that_acts_or_loads_is_left(self, hostile: str) -> None:
        safe = safe_html(hostile)
        assert safe is not None
        for word in (
            "evil",
            "alert",
            "javascript",
            "onerror",
            "style",
            "class",
            "<form",
            "<input",
            "src=",
            "href=",
        ):
            assert word not in safe, safe

    def test_ordinary_mail_is_kept(self) -> None:
        html = '<p>Hello <b>you</b></p><table border="1"><tbody><tr><td colspan="2">x</td></tr></tbody></table>'
        assert safe_html(html) == html

    @pytest.mark.parametrize(
        ("href", "goes_to", "shown"),
        [
            ("https://good.example/a?b=c&amp;d=e#f", "https://good.example/a?b=c&amp;d=e#f", "good.example"),
            ("HTTP://Good.Example", "http://good.example/", "good.example"),
            ("http://good.example:8080/x", "http://good.example:8080/x", "good.example:8080"),
            ("https://bank.example@evil.example/", "https://evil.example/", "evil.example"),
            ("https://bank.example:443@evil.example", "https://evil.example/", "evil.example"),
            (r"https://evil.example\@bank.example/", "https://evil.example/@bank.example/", "evil.example"),
            ("https:evil.example/x", "https://evil.example/x", "evil.example"),
            ("https:///evil.example/x", "https://evil.example/x", "evil.example"),
            ("https://evil.example%2Fbank.example", None, None),
            ("https://ev%69l.example/", "https://evil.example/", "evil.example"),
            ("https://аpple.example/", "https://xn--pple-43d.example/", "xn--pple-43d.example"),
            ("https://ｅvil。example/", "https://evil.example/", "evil.example"),
            ("https://[::1]/", "https://[::1]/", "[::1]"),
            ("https://bad host/", None, None),
            ("https://", None, None),
            ("mailto:a@b.example?subject=x&amp;bcc=c@d.example", "mailto:a@b.example", "a@b.example"),
            ("mailto:nobody", None, None),
        ],
    )
    def test_each_link_shows_where_it_goes(self, href: str, goes_to: str | None, shown: str | None) -> None:
        safe = safe_html(f'<a href="{href}">https://bank.example/</a>')
        assert safe is not None
        if goes_to is None:
            assert "href" not in safe
            assert safe.endswith("</a>")
        else:
            assert f'href="{goes_to}"' in safe
            assert safe.endswith(f"</a> [{shown}]")

    def test_a_link_inside_a_link(self) -> None:
        safe = safe_html('<a href="https://a.example">x<table><tr><td><a href="https://b.example">y</a></table></a>')
        assert safe is not None
        assert safe.count("[a.example]") == 1
        assert safe.count("[b.example]") == 1

    @pytest.mark.parametrize(
        ("octets", "kind"),
        [
            (PNG, "png"),
            (b"\xff\xd8\xff\xe0", "jpeg"),
            (b"GIF89a", "gif"),
            (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "webp"),
            (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", None),
            (b"", None),
        ],
    )
    def test_an_image_of_the_message_is_shown_if_its_content_is_one(self, octets: bytes, kind: str | None) -> None:
        safe = safe_html('<img src="cid:a%40b" alt="Logo">', cid_images={"a@b": octets})
        assert safe is not None
        assert 'alt="Logo"' in safe
        assert ("src=" in safe) == (kind is not None)
        if kind:
            assert f'src="data:image/{kind};base64,' in safe

    def test_images_together_are_bounded(self) -> None:
        image = PNG + b"x" * (limits.INLINE_IMAGE - len(PNG))
        safe = safe_html("<img src=cid:a>" * 50, cid_images={"a": image})
        assert safe is not None
        assert safe.count("data:") == limits.INLINE_IMAGES // limits.INLINE_IMAGE
        assert safe_html("<img src=cid:a>", cid_images={"a": image + b"x"}) == "<img>"

    def test_remote_images_only_when_asked_for(self) -> None:
        html = '<img src="https://evil.example/pixel.gif" alt="A &lt;b&gt;">'
        assert safe_html(html) == '<img alt="A &lt;b&gt;">'
        assert "https://evil.example/pixel.gif" in (safe_html(html, remote_images=True) or "")
        for other in ("data:image/png;base64,AA", "/x.png", "mailto:a@b.example", "file:///x"):
            assert "src" not in (safe_html(f'<img src="{other}">', remote_images=True) or "")

    def test_size_and_depth(self) -> None:
        assert safe_html("x" * limits.HTML) is not None
        assert safe_html("x" * (limits.HTML + 1)) is None
        assert safe_html("é" * (limits.HTML // 2 + 1)) is None
        assert safe_html("<div>" * limits.HTML_DEPTH) is not None
        assert safe_html("<div>" * (limits.HTML_DEPTH + 1)) is None

    def test_tags_side_by_side_are_not_nested(self) -> None:
        row = "<tr><td><font>a<td><p>b<li>c<br></tr>"
        assert safe_html("<table>" + row * 2000 + "</table>" + "<b>x</b>" * 2000) is not None

    @pytest.mark.parametrize(
        "unit",
        [
            "<div></b>",
            "<div><!--</div>-->",
            "<div><table><td></div></table>",
            "<div><textarea></div></textarea>",
        ],
    )
    def test_end_tags_that_end_nothing_hide_no_depth(self, unit: str) -> None:
        assert safe_html(unit * 1000) is None

    @pytest.mark.parametrize(
        "unit",
        [
            "<div>",
            "<",
            "<!--",
            "</",
            "</x ",
            "<a b='",
            "<a href=",
            "<a b='\"",
            "<b><p>",
            "<table>",
            "<li>",
            "&#9",
            "<a<",
        ],
    )
    def test_nothing_hangs(self, unit: str) -> None:
        html = unit * (limits.HTML // 4 // len(unit))
        started = time.monotonic()
        safe_html(html)
        html_to_text(html)
        assert time.monotonic() - started < 10

    @given(st.text("<>/!-=\"' abdivtpscriptlo&#;:\n"))
    def test_whatever_comes_nothing_raises(self, html: str) -> None:
        safe = safe_html(html)
        assert safe is not None
        assert "<script" not in safe
        html_to_text(html)


class TestHtmlPage:
    def test_its_policy_lets_nothing_load(self) -> None:
        page = html_page("<p>x</p>", title="<b>&\x1b")
        assert "content=\"default-src 'none'; img-src data:\"" in page
        assert r"<title>&lt;b&gt;&amp;\x1b</title>" in page
        assert "<p>x</p>" in page

    def test_it_fits_a_phone_and_has_a_main_part(self) -> None:
        page = html_page("<p>x</p>", title="x")
        assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
        assert page.count("<main") == page.count("</main>") == 1

    def test_images_only_when_asked_for(self) -> None:
        assert "img-src data: https: http:" in html_page("", title="", csp_images=True)


class TestHtmlToText:
    @pytest.mark.parametrize(
        ("html", "text"),
        [
            ("<p>One\n two</p><p>Three<br>four", "One two\n\nThree\nfour"),
            ("<title>t</title><style>x</style><script>y</script>z", "z"),
            ("<head><meta charset=x><p>no end of head", "no end of head"),
            ("<ul><li>a<li>b</ul>c", "- a\n- b\n\nc"),
            ("<table><tr><td>a<td>b<tr><td>c</table>", "a  b\nc"),
            ("<pre>a\n   b</pre>", "a\n   b"),
            ("&lt;b&gt; &amp;&nbsp;&eacute; &#x1b; &#0;", "<b> & é \ufffd"),
            ('<img src="https://x.example/a.png" alt="A  logo">', "[A logo]"),
            ('<a href="https://evil.example">bank.example</a>', "bank.example <https://evil.example/>"),
            ('<a href="https://a.example/">https://a.example</a>', "https://a.example"),
            ('<a href="https://u@e.example/"><img alt=x></a>', "[x] <https://e.example/>"),
            ('<a href="/x">y</a>', "y"),
            ("a < b <3 c", "a < b <3 c"),
            ("a<!-- <p>hidden</p> -->b", "ab"),
            ("plain", "plain"),
            ("", ""),
        ],
    )
    def test_examples(self, html: str, text: str) -> None:
        assert html_to_text(html) == text

    def test_numbers_that_python_refuses(self) -> None:
        assert html_to_text("&#" + "9" * 10_000 + ";x") == "\ufffdx"

    def test_within_limits(self) -> None:
        assert len(html_to_text("x" * (2 * limits.HTML))) == limits.HTML


def test_importing_it_is_cheap() -> None:
    code = "import sys, json, mimeportal.untrusted; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"nh3", "html", "html.parser", "urllib.parse", "email", "pydantic", "mimeportal.untrusted_html"}
    assert not heavy & set(json.loads(output))
