"""portal.toml: what it may say, and that whatever is wrong in it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from asking import asking
from conftest import Lab, mail_of
from mimeportal import limits
from mimeportal.errors import ConfigurationError
from mimeportal_server import settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "portal.toml"


def loaded(config: Path, text: str) -> settings.Settings:
    config.write_text(text, "utf-8")
    return settings.load(config)


LEAST = 'domains = ["example.com"]\n'
FOLDER = '[secure.folders]\nF = ["example.com"]\n'


class TestWhatItSays:
    def test_the_template_is_right(self, config: Path) -> None:
        read = loaded(config, settings.template("example.com", "https://portal.example.com/"))
        assert read.domains == ("example.com",)
        assert read.public_url == "https://portal.example.com"
        assert (read.hold_days, read.archiving, read.deliver_to) == (14, True, "maildir")
        assert (read.mail_from, read.security_address) == ("no-reply@example.com", "security@example.com")
        assert "gmail.com" in read.public_providers
        assert [rule.kind for rule in read.hold_rules] == ["spam", "attachment"]
        assert read.authserv_id is None

    def test_defaults(self, config: Path) -> None:
        read = loaded(config, LEAST)
        assert (read.time_zone, read.hold_days, read.relay) == ("UTC", 14, ("127.0.0.1", 25))
        assert (read.http, read.smtp) == (("127.0.0.1", 8025), ("127.0.0.1", 2525))
        assert (read.tls_cert, read.tls_key, read.behind_proxy) == ("", "", False)
        assert read.hold_rules == ()
        assert read.limits == limits.LOWERABLE
        assert read.session_hours == 8
        secure = read.secure
        assert (secure.mode, secure.compose, secure.first_visit, secure.triggers) == ("full", None, "link", ())
        assert (secure.inbox_days, secure.retention_days, secure.published_contacts) == (60, 365, ())
        assert secure.switched_off() == set()
        assert (secure.expired_blocks_read, secure.recall_only_if_unread) == (False, False)
        (default,) = secure.definitions
        assert (default.print, default.reply, default.reply_all, default.expire_days, default.read_receipt) == (
            True, True, True, 0, False,
        )  # fmt: skip
        rules = read.passwords
        assert (rules.shortest, rules.longest, rules.classes, rules.expire_days) == (8, 128, 3, 0)
        assert (rules.lock_failures, rules.lock_minutes, rules.reset_by_mail) == (5, 15, True)

    def test_where_it_listens(self, config: Path) -> None:
        read = loaded(
            config,
            LEAST + '[listen]\nhttp = "0.0.0.0:443"\nsmtp = "[::]:25"\ntls_cert = "a.pem"\ntls_key = "b.pem"\n'
            "behind_proxy = true\n",
        )
        assert (read.http, read.smtp) == (("0.0.0.0", 443), ("::", 25))
        assert (read.tls_cert, read.tls_key, read.behind_proxy) == ("a.pem", "b.pem", True)

    def test_values_are_normalised(self, config: Path) -> None:
        read = loaded(
            config,
            'domains = ["Example.COM", "Bücher.example"]\n[policies]\nblocked_senders = ["Eve@Elsewhere.EXAMPLE"]\n'
            'permitted_senders = ["Partner.example"]\npublic_providers = ["GMail.com"]\nauthserv_id = "mx"\n'
            '[delivery]\nto = "smtp"\nrelay = "[::1]:2525"\n',
        )
        assert read.domains == ("example.com", "xn--bcher-kva.example")
        assert read.blocked_senders == {"eve@elsewhere.example"}
        assert read.permitted_senders == {"partner.example"}
        assert read.public_providers == {"gmail.com"}
        assert (read.authserv_id, read.deliver_to, read.relay) == ("mx", "smtp", ("::1", 2525))

    def test_one_value_may_stand_for_a_list(self, config: Path) -> None:
        read = loaded(config, 'domains = "example.com"\n[[hold]]\nkind = "other"\nsubject = "urgent"\n')
        assert read.hold_rules[0].subject == ("urgent",)
        assert read.hold_rules[0].policy == "Hold rule 1"
        assert read.hold_rules[0].level == "user"

    def test_limits_can_be_lowered(self, config: Path) -> None:
        read = loaded(config, LEAST + "[limits]\npage_size = 10\nhold_days = 7\n")
        assert read.limits["page_size"] == 10
        assert read.hold_days == 7


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ("", "domains"),
            ("domains = []\n", "domains"),
            ("domains = 5\n", "domains"),
            ('domains = ["localhost"]\n', "domains"),
            ('domains = ["a b.example"]\n', "domains"),
            (LEAST + 'colour = "red"\n', "colour"),
            (LEAST + 'time_zone = "Mars/Olympus"\n', "time_zone"),
            (LEAST + "time_zone = 5\n", "time_zone"),
            (LEAST + 'public_url = "portal.example.com"\n', "public_url"),
            (LEAST + "public_url = 5\n", "public_url"),
            (LEAST + "keeping = 5\n", "keeping"),
            (LEAST + "[keeping]\ncolour = 1\n", "keeping.colour"),
            (LEAST + "[keeping]\nhold_days = 15\n", "keeping.hold_days"),
            (LEAST + "[passwords]\nshortest = 7\n", "passwords.shortest"),
            (LEAST + "[passwords]\nlongest = 129\n", "passwords.longest"),
            (LEAST + "[passwords]\nclasses = 5\n", "passwords.classes"),
            (LEAST + "[passwords]\nlock_failures = 0\n", "passwords.lock_failures"),
            (LEAST + "[passwords]\nreset_by_mail = 1\n", "passwords.reset_by_mail"),
            (LEAST + "[pages]\nsession_hours = 0\n", "pages.session_hours"),
            (LEAST + '[secure]\nmode = "half"\n', "secure.mode"),
            (LEAST + '[secure]\ncolour = "red"\n', "secure.colour"),
            (LEAST + "[secure]\nreply = 1\n", "secure.reply"),
            (LEAST + '[secure]\ncompose = ["*"]\n', "secure.compose"),
            (LEAST + "[secure]\ninbox_days = 61\n", "secure.inbox_days"),
            (LEAST + "[secure]\nretention_days = 0\n", "secure.retention_days"),
            (LEAST + "[secure]\nretention_days = 3651\n", "secure.retention_days"),
            (LEAST + '[secure]\nfirst_visit = "phone"\n', "secure.first_visit"),
            (LEAST + '[secure]\npublished_contacts = ["ann"]\n', "secure.published_contacts"),
            (LEAST + "[secure]\nfolders = 1\n", "secure.folders"),
            (LEAST + '[secure.folders]\nA = ["*"]\n', "secure.folders.A"),
            (LEAST + "[secure]\ndefinition = 1\n", "secure.definition"),
            (LEAST + '[[secure.definition]]\nname = "A"\n', "secure definition 1: there is no folder ''"),
            (LEAST + FOLDER + '[[secure.definition]]\nfolder = "F"\n', "secure definition 1: its name"),
            (LEAST + FOLDER + 2 * '[[secure.definition]]\nname = "A"\nfolder = "F"\n', "secure definition 2: its name"),
            (
                LEAST + FOLDER + '[[secure.definition]]\nname = "Default Secure Messaging Definition"\nfolder = "F"\n',
                "secure definition 1: its name",
            ),
            (LEAST + FOLDER + '[[secure.definition]]\nname = "A"\nfolder = "F"\nexpire_days = -1\n', "expire_days"),
            (LEAST + '[[secure.trigger]]\nsubject = "a"\n', "secure trigger 1: there is no definition ''"),
            (
                LEAST + '[[secure.trigger]]\ndefinition = "Default Secure Messaging Definition"\n',
                "secure trigger 1 has no condition, so it would send all mail securely",
            ),
            (LEAST + "[keeping]\nhold_days = 0\n", "keeping.hold_days"),
            (LEAST + '[keeping]\nhold_days = "7"\n', "keeping.hold_days"),
            (LEAST + "[keeping]\nhold_days = true\n", "keeping.hold_days"),
            (LEAST + "[keeping]\nhold_days = 8\n[limits]\nhold_days = 7\n", "keeping.hold_days"),
            (LEAST + '[keeping]\narchiving = "yes"\n', "keeping.archiving"),
            (LEAST + '[mail]\nfrom = "nobody"\n', "mail.from"),
            (LEAST + "[mail]\nfrom = 5\n", "mail.from"),
            (LEAST + '[mail]\nsecurity = "@"\n', "mail.security"),
            (LEAST + '[delivery]\nto = "pigeon"\n', "delivery.to"),
            (LEAST + "[delivery]\nto = 5\n", "delivery.to"),
            (LEAST + '[delivery]\nrelay = "smtp.example.com"\n', "delivery.relay"),
            (LEAST + '[delivery]\nrelay = "smtp.example.com:0"\n', "delivery.relay"),
            (LEAST + '[delivery]\nrelay = "smtp.example.com:many"\n', "delivery.relay"),
            (LEAST + "[delivery]\nrelay = 25\n", "delivery.relay"),
            (LEAST + '[delivery]\nto = "smtp"\n', "delivery.relay"),
            (LEAST + "[listen]\nhttp = 8025\n", "listen.http"),
            (LEAST + '[listen]\nsmtp = "localhost"\n', "listen.smtp"),
            (LEAST + "[listen]\ntls_cert = true\n", "listen.tls_cert"),
            (LEAST + "[listen]\ntls_key = 5\n", "listen.tls_key"),
            (LEAST + '[listen]\nbehind_proxy = "yes"\n', "listen.behind_proxy"),
            (LEAST + '[policies]\nblocked_senders = ["*@elsewhere.example"]\n', "policies.blocked_senders"),
            (LEAST + '[policies]\npermitted_senders = ["@elsewhere.example"]\n', "policies.permitted_senders"),
            (LEAST + "[policies]\npermitted_senders = [5]\n", "policies.permitted_senders"),
            (LEAST + '[policies]\npublic_providers = ["gmail"]\n', "policies.public_providers"),
            (LEAST + "[policies]\nauthserv_id = 5\n", "policies.authserv_id"),
            (LEAST + "[auto_allow]\ncreate = 1\n", "auto_allow.create"),
            (LEAST + "[auto_allow]\ndays = 121\n", "auto_allow.days"),
            (LEAST + "[auto_allow]\ndays = 0\n", "auto_allow.days"),
            (LEAST + "[auto_allow]\nsample = 1.5\n", "auto_allow.sample"),
            (LEAST + "[auto_allow]\nsample = nan\n", "auto_allow.sample"),
            (LEAST + "[auto_allow]\nsample = true\n", "auto_allow.sample"),
            (LEAST + "[auto_allow]\nshare = 0\n", "auto_allow.share"),
            (LEAST + "[limits]\npage_size = 501\n", "limits.page_size"),
            (LEAST + "[limits]\npage_size = 0\n", "limits.page_size"),
            (LEAST + '[limits]\npage_size = "10"\n', "limits.page_size"),
            (LEAST + "[limits]\nspeed = 10\n", "limits.speed"),
            (LEAST + "hold = 5\n", "hold"),
            (LEAST + "hold = [5]\n", "hold rule 1"),
        ],
    )
    def test_the_setting_is_named(self, config: Path, text: str, named: str) -> None:
        with pytest.raises(ConfigurationError) as wrong:
            loaded(config, text)
        assert str(config) in wrong.value.what
        assert named in wrong.value.what

    @pytest.mark.parametrize(
        ("rule", "named"),
        [
            ('subject = "a"', "hold rule 2: kind"),
            ('kind = "fun"\nsubject = "a"', "hold rule 2: kind"),
            ('kind = "spam"\nlevel = "everybody"\nsubject = "a"', "hold rule 2: level"),
            ('kind = "spam"', "hold rule 2 has no condition"),
            ('kind = "spam"\nsubject = []', "hold rule 2 has no condition"),
            ('kind = "spam"\nsubject = ""', "hold rule 2"),
            ('kind = "spam"\nsubject = ["a", ""]', "hold rule 2.subject"),
            ('kind = "spam"\nsubject = 5', "hold rule 2.subject"),
            (f'kind = "spam"\nsubject = "{"x" * 2000}"', "hold rule 2.subject"),
            ('kind = "spam"\nsender = " "', "hold rule 2.sender"),
            ('kind = "spam"\nrecipient = [""]', "hold rule 2.recipient"),
            ('kind = "spam"\nattachment_name = [""]', "hold rule 2.attachment_name"),
            ('kind = "spam"\nattachment_type = [1]', "hold rule 2.attachment_type"),
            ('kind = "spam"\nheader = "X-Spam"', "hold rule 2: header"),
            ('kind = "spam"\nheader = { name = "X-Spam" }', "hold rule 2: header"),
            ('kind = "spam"\nheader = { name = "X-Spam", value = "" }', "hold rule 2.header"),
            ('kind = "spam"\nheader = { name = "X Spam", value = "a" }', "hold rule 2: header"),
            ('kind = "spam"\nsender = "@"', "hold rule 2.sender"),
            ('kind = "spam"\nlarger_than = -1', "hold rule 2: larger_than"),
            ('kind = "spam"\nlarger_than = "1 MB"', "hold rule 2: larger_than"),
            ('kind = "spam"\npolicy = 5\nsubject = "a"', "hold rule 2.policy"),
            ('kind = "spam"\nreason = 5\nsubject = "a"', "hold rule 2.reason"),
            ('kind = "spam"\nsubject = "a"\nregex = "b"', "hold rule 2.regex"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_rules_are_counted(self, config: Path, rule: str, named: str) -> None:
        first = '[[hold]]\nkind = "spam"\nsubject = "fine"\n'
        with pytest.raises(ConfigurationError) as wrong:
            loaded(config, f"{LEAST}{first}[[hold]]\n{rule}\n")
        assert named in wrong.value.what

    @pytest.mark.parametrize("octets", [b"domains = [", b"\xff\xfe", b"domains = 1\ndomains = 2\n"])
    def test_what_is_no_toml(self, config: Path, octets: bytes) -> None:
        config.write_bytes(octets)
        with pytest.raises(ConfigurationError, match="is not TOML"):
            settings.load(config)

    def test_what_is_nested_too_deep(self, config: Path) -> None:
        with pytest.raises(ConfigurationError, match="nested too deep"):
            loaded(config, "domains = " + "[" * 100_000)

    def test_what_is_not_there(self, config: Path) -> None:
        with pytest.raises(ConfigurationError, match="cannot be read"):
            settings.load(config)


def test_a_lowered_page_size_is_the_portal_s(lab: Lab) -> None:
    for number in range(4):
        lab.receive(mail_of(subject=str(number)))
    with (lab.path / "portal.toml").open("a") as file:
        file.write("\n[limits]\npage_size = 3\n")
    with asking(lab) as ask:
        told = ask("/api/gateway/get-hold-message-list", {"admin": True}, size=500)
        assert (len(told.rows), told.page["totalCount"]) == (3, 4)
