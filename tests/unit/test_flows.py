"""What is signed and how, against the public vector of the reference; and which hosts are whose."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest

from mimeportal import regions
from mimeportal.auth import flows
from mimeportal.errors import ApiError, ConfigurationError, UsageError

SECRET = base64.b64encode(b"SecretKey").decode()


def test_the_public_vector() -> None:
    """mimecast-api-core 11: computed by others."""
    signed = flows.signed_headers(
        moment=datetime(2022, 8, 21, 15, 49, 40, tzinfo=timezone(timedelta(hours=2))),
        request_id="3d796b76-4180-40e5-8f7c-6e0fd643b1a9",
        path="/api/test/some-url",
        app_id="an-app",
        app_key="ApplicationKey",
        access_key="an-access-key",
        secret_key=SECRET,
    )
    assert signed == {
        "authorization": "MC an-access-key:WOywLsnZlsE+D6bp/ug6uch5kxc=",
        "x-mc-app-id": "an-app",
        "x-mc-date": "Sun, 21 Aug 2022 13:49:40 UTC",
        "x-mc-req-id": "3d796b76-4180-40e5-8f7c-6e0fd643b1a9",
    }


def test_a_secret_that_is_no_base64() -> None:
    with pytest.raises(ValueError, match="not base64"):
        flows.signature(date="", request_id="", path="", app_key="", secret_key="%%%")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Tue, 24 Nov 2015 12:50:11 UTC", datetime(2015, 11, 24, 12, 50, 11, tzinfo=UTC)),
        ("Tue, 24 Nov 2015 12:50:11 GMT", datetime(2015, 11, 24, 12, 50, 11, tzinfo=UTC)),
        ("Tue, 24 Nov 2015 14:50:11 +0200", datetime(2015, 11, 24, 12, 50, 11, tzinfo=UTC)),
        ("Tue, 24 Nov 2015", None),
        ("", None),
        ("Fri, 31 Dec 9999 23:00:00 -1200", None),
    ],
)
def test_dates_are_read_in_any_zone(text: str, moment: datetime | None) -> None:
    assert flows.read_date_header(text) == moment


def test_passwords_may_hold_anything() -> None:
    scheme, _, coded = flows.basic("Basic-Cloud", "ann@example.com", "p:\u00e4\u2603").partition(" ")
    assert (scheme, base64.b64decode(coded).decode()) == ("Basic-Cloud", "ann@example.com:p:\u00e4\u2603")


# -- hosts ------------------------------------------------------------------------------------------------------------

MIMECAST = ["api.mimecast.com", "eu-api.mimecast.com", "uspcom-api.mimecast-pscom-us.com", "in-api.mimecast.com"]


@pytest.mark.parametrize("host", [*MIMECAST, "api.services.mimecast.com"])
def test_hosts_of_mimecast(host: str) -> None:
    assert regions.is_mimecast(host)
    assert regions.global_url(f"https://{host}") == "https://api.mimecast.com"


@pytest.mark.parametrize("host", ["mimecast.com.example", "notmimecast.com", "127.0.0.1", "", "mimecast-com"])
def test_hosts_of_others(host: str) -> None:
    assert not regions.is_mimecast(host)


@pytest.mark.parametrize(
    ("url", "login", "asked", "api"),
    [
        ("https://eu-api.mimecast.com", "app1", None, "api1"),
        ("https://eu-api.mimecast.com", "person", None, "api1"),
        ("https://eu-api.mimecast.com", "", None, "api1"),
        ("https://api.services.mimecast.com", "app2", None, "api2"),
        ("https://uk-api.services.mimecast.com", "", "api2", "api2"),
        ("https://portal.example", "app2", None, "local"),
        ("https://portal.example", "app1", "api2", "api2"),
        ("http://127.0.0.1:8025", "person", "api1", "api1"),
        ("local:home", "", None, "local"),
        ("local:home", "", "api2", "api2"),
    ],
)
def test_which_api_is_spoken(url: str, login: str, asked: str | None, api: str) -> None:
    assert regions.api_of(url, login, asked) == api


@pytest.mark.parametrize(
    ("url", "login", "asked"),
    [
        ("https://eu-api.mimecast.com", "app2", None),
        ("https://api.services.mimecast.com", "app1", None),
        ("https://api.services.mimecast.com", "person", None),
        ("https://eu-api.mimecast.com", "app1", "api2"),
        ("https://eu-api.mimecast.com", "app1", "local"),
    ],
)
def test_a_log_in_for_the_other_api(url: str, login: str, asked: str | None) -> None:
    with pytest.raises(ConfigurationError, match="does not go with"):
        regions.api_of(url, login, asked)


def test_an_api_that_is_none() -> None:
    with pytest.raises(UsageError, match="no API 'api3'"):
        regions.api_of("local:home", asked="api3")


@pytest.mark.parametrize(
    ("code", "region"),
    [("CUSA13A1", "us"), ("CUSB7", "usb"), ("cuk1", "eu"), ("CSA1", "za"), ("LOCAL-1", None), ("", None)],
)
def test_regions_of_account_codes(code: str, region: str | None) -> None:
    assert regions.region_of_account(code) == region
    assert region is None or region in regions.REGIONS_1


@pytest.mark.parametrize(
    ("found", "own", "trusted"),
    [
        ("https://us-api.mimecast.com", "https://api.mimecast.com", True),
        ("https://us-api.mimecast.com/", "https://eu-api.mimecast.com", True),
        ("https://us-api.mimecast.com:8443", "https://api.mimecast.com", False),
        ("https://us-api.mimecast.com.example", "https://api.mimecast.com", False),
        ("https://us-api.mimecast.com@evil.example", "https://api.mimecast.com", False),
        ("http://us-api.mimecast.com", "https://api.mimecast.com", False),
        ("https://portal.example", "https://api.mimecast.com", False),
        ("https://portal.example", "https://portal.example", True),
        ("https://portal.example:8443", "https://portal.example", True),
        ("https://other.example", "https://portal.example", False),
        ("https://us-api.mimecast.com", "https://portal.example", False),
        ("http://localhost:8025", "http://127.0.0.1:8025", True),
        ("local:home", "http://127.0.0.1:8025", False),
        ("", "https://portal.example", False),
    ],
)
def test_regions_that_a_portal_names(found: str, own: str, trusted: bool) -> None:
    if trusted:
        regions.check_discovered(found, own)
        return
    with pytest.raises(ApiError, match="no known one"):
        regions.check_discovered(found, own)


@pytest.mark.parametrize(
    ("url", "own", "trusted"),
    [
        ("https://us-a1.download.api.services.mimecast.com/x?y", "https://api.services.mimecast.com", True),
        ("https://x.eu-b2.download.api.services.mimecast.com/x", "https://api.services.mimecast.com", True),
        ("https://api.services.mimecast.com/x", "https://api.services.mimecast.com", False),
        ("http://us-a1.download.api.services.mimecast.com/x", "https://api.services.mimecast.com", False),
        ("https://us-a1.download.api.services.mimecast.com:1/x", "https://api.services.mimecast.com", False),
        ("https://a@us-a1.download.api.services.mimecast.com/x", "https://api.services.mimecast.com", False),
        ("https://download.api.services.mimecast.com.example/x", "https://api.services.mimecast.com", False),
        ("https://us-a1.download.api.services.mimecast.com/x", "https://portal.example", False),
        ("https://portal.example/x", "https://portal.example", True),
        ("http://portal.example/x", "https://portal.example", False),
        ("https://portal.example:444/x", "https://portal.example", False),
        ("http://localhost:8025/x", "http://127.0.0.1:8025", True),
        ("http://localhost:8026/x", "http://127.0.0.1:8025", False),
        ("https://[::1", "https://portal.example", False),
        ("", "https://portal.example", False),
    ],
)
def test_addresses_that_octets_are_fetched_from(url: str, own: str, trusted: bool) -> None:
    if trusted:
        regions.check_download(url, own)
        return
    with pytest.raises(ApiError, match="not trusted"):
        regions.check_download(url, own)
