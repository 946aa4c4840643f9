"""Mimecast's hosts: which URL serves whom, what is Mimecast's at all, and where octets may be fetched from.

Sources: mimecast-api-core 4 (base URLs) and 6.10 (downloads); promises E.5 (known regions, or the profile's own host).
"""

from __future__ import annotations

from typing import cast, get_args
from urllib.parse import urlsplit

from mimeportal.errors import ApiError, ConfigurationError, UsageError
from mimeportal.urls import LOCAL, is_loopback, portal_url
from mimeportal.wire import Api

# API 1.0: the region of an account has a host of its own; the global one only says which (mimecast-api-core 4.1).
DISCOVERY = "https://api.mimecast.com"
REGIONS_1 = {
    "eu": "https://eu-api.mimecast.com",
    "de": "https://de-api.mimecast.com",
    "us": "https://us-api.mimecast.com",
    "usb": "https://usb-api.mimecast.com",
    "uspcom": "https://uspcom-api.mimecast-pscom-us.com",
    "ca": "https://ca-api.mimecast.com",
    "za": "https://za-api.mimecast.com",
    "au": "https://au-api.mimecast.com",
    "je": "https://je-api.mimecast.com",
    "jer": "https://jer-api.mimecast.com",  # sources disagree on Jersey's name
    "sandbox": "https://sandbox-api.mimecast.com",
}
# API 2.0: one host for all regions; two instances for those who want theirs (mimecast-api-core 4.2).
GATEWAY = "https://api.services.mimecast.com"
REGIONS_2 = {
    "uk": "https://uk-api.services.mimecast.com",
    "us": "https://us-api.services.mimecast.com",
    "de": "https://de-api.services.mimecast.com",
}
_ACCOUNTS = {"CUSA": "us", "CUSB": "usb", "CCA": "ca", "CUK": "eu", "CDE": "de", "CAU": "au", "CSA": "za"}
_OURS = ("mimecast.com", "mimecast-pscom-us.com")
_DOWNLOADS = ".download.api.services.mimecast.com"
_KNOWN = frozenset({DISCOVERY, GATEWAY, *REGIONS_1.values(), *REGIONS_2.values()})


def is_mimecast(host: str) -> bool:
    """Whether a host is one of Mimecast's: only Mimecast's own operations are sent there."""
    return any(host == domain or host.endswith(f".{domain}") for domain in _OURS)


def region_of_account(code: str) -> str | None:
    """The region of API 1.0 that the first letters of an account code tell; None for others."""
    return next((region for letters, region in _ACCOUNTS.items() if code.upper().startswith(letters)), None)


def api_of(url: str, login: str = "", asked: str | None = None) -> Api:
    """Which API is spoken at a URL: at Mimecast's it follows from the log-in, elsewhere it is a local portal's.

    `login` is the kind of credentials, "" without; `asked` restricts a local portal to what one Mimecast API offers.
    Raises `ConfigurationError` where they contradict each other.
    """
    host = _host(url)
    if url.startswith(LOCAL) or not is_mimecast(host):
        if asked not in (None, "", *get_args(Api)):
            raise UsageError(f"There is no API {asked!r}.", remedy=f"Use one of: {', '.join(get_args(Api))}.")
        return cast("Api", asked or "local")
    spoken: Api = "api2" if host.endswith(".services.mimecast.com") else "api1"
    wanted: Api = spoken if not login else "api2" if login == "app2" else "api1"
    for other in (wanted, asked or spoken):
        if other != spoken:
            raise ConfigurationError(
                f"{url} speaks {_NAMES[spoken]}, which this log-in or setting does not go with.",
                why=f"The log-in is {login or 'none'}, the API asked for is {asked or wanted}.",
                remedy=f"Log in anew: `mimeportal auth login {'--app2' if spoken == 'api2' else '--app1'}`.",
            )
    return spoken


_NAMES = {"api1": "API 1.0", "api2": "API 2.0"}


def global_url(url: str) -> str:
    """Where operations are sent that Mimecast serves from one place; a local portal serves them itself."""
    return DISCOVERY if is_mimecast(_host(url)) else url


def check_discovered(found: str, own: str) -> None:
    """Refuse the URL of a region that is neither a known one nor the host that was asked (promises E.5).

    Raises `ApiError` naming it.
    """
    try:
        url = portal_url(found)
    except UsageError:
        url = ""
    if is_mimecast(_host(own)) and url in _KNOWN:
        return
    if url and _same_host(_host(url), _host(own)) and not is_mimecast(_host(own)):
        return
    raise ApiError(
        f"The portal names {found!r} as the region of this address: no known one.",
        code="err_region_unknown",
        why="Secrets are sent to Mimecast's known regions and to the portal's own host alone.",
        remedy="Ask the portal's operator; for one of your own, set `public_url` in portal.toml.",
    )


def check_download(url: str, own: str) -> None:
    """Refuse a URL to fetch octets from, unless it is one of Mimecast's download hosts or the portal's own origin.

    Raises `ApiError` naming its host, and nothing that could be a secret in it.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        scheme, host, port = "", "", None
    home = urlsplit(own)
    if "@" not in url.partition("?")[0]:
        if is_mimecast(_host(own)):
            trusted = scheme == "https" and port is None and host.endswith(_DOWNLOADS)
        else:
            trusted = (scheme, port) == (home.scheme, home.port) and _same_host(host, _host(own))
        if trusted and host:
            return
    raise ApiError(
        f"The portal says to fetch the octets from {host or 'no host'}, which is not trusted.",
        code="err_download_unknown",
        why="They are fetched from Mimecast's download hosts and from the portal's own address alone.",
        remedy="Ask the portal's operator; for one of your own, set `public_url` in portal.toml.",
    )


def _same_host(one: str, other: str) -> bool:
    return one == other or (is_loopback(one) and is_loopback(other))


def _host(url: str) -> str:
    return "" if url.startswith(LOCAL) else (urlsplit(url).hostname or "")
