"""Which addresses may be called, in every spelling, and on whose behalf."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai_lab.errors import ForbiddenAddressError
from convai_lab.http import AddressRules
from convai_lab.http.addresses import classify

PUBLIC = "https://example.com/hook"

NEVER = [
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.169.254./",
    "http://169.254.0.23/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0xa9.0xfe.0xa9.0xfe/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    "http://169.16689662/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[::169.254.169.254]/",
    "http://[64:ff9b::169.254.169.254]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[2001:0:a9fe:a9fe::1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fd00:ec2::254]/",
    "http://[fd00:0ec2:0:0:0:0:0:0254]/",
    "http://[fd20:ce::254]/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://metadata.google.internal/",
    "http://METADATA.google.Internal./computeMetadata/v1/",
    "http://metadata/",
    "http://metadata.goog/",
    "http://instance-data.ec2.internal/",
    "http://0.0.0.0:8300/",
    "http://0/",
    "http://0.1.2.3/",
    "http://[::]/",
    "http://[::ffff:0.0.0.0]/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://127.1/",
    "http://127.0.0.01/",
    "http://127.0.0.1.0/",
    "http://0127.0.0.1/",
    "http://1.2.3.4.5/",
    "http://256.1.1.1/",
    "http://example.0x1/",
    "http://１２７.０.０.１/",
    "http://①②⑦.⓪.⓪.①/",
    "http://2130706433。/",
    "http://%31%32%37.0.0.1/",
    "http://127.0.0.1%2f.example.com/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://240.0.0.1/",
    "http://[ff02::1]/",
    "http://example.com@169.254.169.254/",
    "http://169.254.169.254@example.com/",
    "http://user:password@example.com/",
    "http://user@127.0.0.1/",
    "http://127.0.0.1:80@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http:///",
    "http://",
    "http://./",
    "http://../",
    "http://a..b/",
    "http://-a.example/",
    "http://exa mple.com/",
    "http://exam\tple.com/",
    "http://" + "a" * 64 + ".com/",
    "http://" + "a." * 200 + "com/",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "ftp://example.com/",
    "ws://example.com/",
    "javascript:alert(1)",
    "//example.com/",
    "example.com",
    "",
    "http://[::1/",
    "http://::1/",
    "http://example.com:99999/",
    "http://example.com:0/",
    "http://example.com:abc/",
    "http://" + "a" * 70_000,
]


@pytest.mark.parametrize("url", NEVER, ids=lambda url: url[:50])
def test_it_is_never_called_even_when_it_was_stored(url):
    with pytest.raises(ForbiddenAddressError) as caught:
        AddressRules(url)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook?x={y}",
        "http://EXAMPLE.com.:8080/",
        "https://bücher.example/",
        "https://xn--bcher-kva.example/",
        "https://my_host.example.com/",
        "https://1password.com/",
        "http://93.184.216.34/",
        "http://[2606:4700::1111]/",
    ],
)
def test_public_addresses_may_be_stored_and_called(url):
    AddressRules(url).check_url(httpx.URL(url))
    AddressRules("https://other.example/").check_url(httpx.URL(url))


@pytest.mark.parametrize(
    ("url", "answers"),
    [
        ("http://127.0.0.1:9000/", ["127.0.0.1"]),
        ("http://127.0.0.1.:9000/", ["127.0.0.1"]),
        ("http://[::1]:9000/", ["::1"]),
        ("http://[0:0:0:0:0:0:0:1]:9000/", ["::1"]),
        ("http://[::ffff:127.0.0.1]:9000/", ["127.0.0.1"]),
        ("http://localhost:9000/", ["127.0.0.1", "::1"]),
        ("http://LOCALHOST.:9000/", ["127.0.0.1"]),
        ("http://crm.localhost/", ["127.0.0.1"]),
        ("http://192.168.1.20/", ["192.168.1.20"]),
        ("http://10.1.2.3:81/", ["10.1.2.3"]),
        ("http://100.64.0.7/", ["100.64.0.7"]),
        ("http://[fd12:3456::1]/", ["fd12:3456::1"]),
        ("http://ollama:11434/", ["172.18.0.2"]),
        ("http://my_service:80/", ["10.0.0.4", "10.0.0.5"]),
        ("http://nas.local/", ["192.168.1.30"]),
        ("http://host.docker.internal:8000/", ["192.168.65.254"]),
        ("http://printer.home.arpa/", ["192.168.1.31"]),
    ],
)
def test_private_hosts_may_be_called_when_they_stand_in_the_stored_url(url, answers):
    rules, called = AddressRules(url), httpx.URL(url)
    rules.check_url(called)
    rules.check_resolved(called.host, called.port or 80, answers)
    with pytest.raises(ForbiddenAddressError):
        rules.check_resolved(called.host, 6379, answers)
    with pytest.raises(ForbiddenAddressError):
        AddressRules(PUBLIC).check_resolved(called.host, called.port or 80, answers)


@pytest.mark.parametrize(
    ("stored", "answers"),
    [
        ("https://example.com/", ["127.0.0.1"]),
        ("https://example.com/", ["10.0.0.1"]),
        ("https://example.com/", ["93.184.216.34", "127.0.0.1"]),
        ("https://example.com/", ["::1"]),
        ("https://example.com/", ["::ffff:10.0.0.1"]),
        ("https://example.com/", ["64:ff9b::10.0.0.1"]),
        ("https://example.com/", ["2002:0a00:0001::"]),
        ("https://example.com/", ["fd00::1"]),
        ("https://example.com/", ["fe80::1%eth0"]),
        ("https://example.com/", ["169.254.169.254"]),
        ("https://example.com/", ["0.0.0.0"]),
        ("https://example.com/", ["not an address"]),
        ("https://127.0.0.1.nip.io/", ["127.0.0.1"]),
        ("https://localtest.me/", ["127.0.0.1"]),
        ("https://localhost.example.com/", ["127.0.0.1"]),
        ("https://notlocalhost/", ["169.254.169.254"]),
        ("http://localhost/", ["10.0.0.1"]),
        ("http://localhost/", ["169.254.169.254"]),
        ("http://nas.local/", ["169.254.169.254"]),
        ("http://ollama/", ["fd00:ec2::254"]),
        ("http://evil.local.example/", ["192.168.1.1"]),
    ],
)
def test_a_name_is_refused_for_what_it_resolves_to(stored, answers):
    rules = AddressRules(stored)
    url = httpx.URL(stored)
    with pytest.raises(ForbiddenAddressError):
        rules.check_resolved(url.host, url.port or {"http": 80, "https": 443}[url.scheme], answers)


def test_one_private_url_does_not_open_another():
    rules = AddressRules("http://127.0.0.1:9000/hook")
    rules.check_url(httpx.URL("http://127.0.0.1:9000/other?path=1"))
    for url in ("http://127.0.0.1/", "http://127.0.0.1:9001/", "http://127.0.0.2:9000/", "http://[::1]:9000/"):
        with pytest.raises(ForbiddenAddressError, match="only the stored URL itself"):
            rules.check_url(httpx.URL(url))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8300/", "http://127.8.8.8:8300/", "http://[::1]:8300/", "http://[::ffff:127.0.0.1]:8300/"]
)
def test_our_own_ports_are_never_called(url):
    with pytest.raises(ForbiddenAddressError, match="port of this program"):
        AddressRules(url, own_ports=[8300, 8888])
    AddressRules(url, own_ports=[8888])


def test_our_own_port_is_refused_by_name_and_on_every_address_of_this_machine():
    rules = AddressRules("http://localhost:8300/", own_ports=[8300])
    with pytest.raises(ForbiddenAddressError, match="port of this program"):
        rules.check_resolved("localhost", 8300, ["127.0.0.1"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; asks which address would be used
        except OSError:
            pytest.skip("this machine has no other address")
        own = probe.getsockname()[0]
    with pytest.raises(ForbiddenAddressError):
        AddressRules(f"http://{own}:8300/", own_ports=[8300])


def test_the_default_port_can_be_our_own():
    with pytest.raises(ForbiddenAddressError, match="port of this program"):
        AddressRules("http://127.0.0.1/", own_ports=[80])


def test_another_machine_may_use_the_same_port_number():
    AddressRules("http://192.168.77.13:8300/", own_ports=[8300])


@pytest.mark.parametrize("wrong", [None, 5, b"http://example.com/", ["http://example.com/"]])
def test_what_is_no_text_is_refused_in_words(wrong):
    with pytest.raises(ForbiddenAddressError):
        AddressRules(wrong)


def test_a_refusal_does_not_repeat_secrets_of_the_url():
    with pytest.raises(ForbiddenAddressError) as caught:
        AddressRules("http://ada:hunter2@example.com/hook?token=s3cret#s3cret")
    assert "hunter2" not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "Authorization header" in str(caught.value)


@given(st.integers(0, 2**32 - 1))
def test_an_embedded_address_is_as_dangerous_as_a_plain_one(number):
    plain = ipaddress.IPv4Address(number)
    for embedding in (f"::ffff:{plain}", f"64:ff9b::{plain}", f"2002:{number >> 16:x}:{number & 0xFFFF:x}::"):
        assert classify(ipaddress.ip_address(embedding)) == classify(plain)


@given(st.integers(0, 2**32 - 1))
def test_only_the_plain_spelling_of_an_address_is_taken(number):
    plain = ipaddress.IPv4Address(number)
    first, second, third, fourth = plain.packed
    for spelling in (
        str(number),
        hex(number),
        f"0{number:o}",
        f"{first}.{second}.{(third << 8) | fourth}",
        f"{first}.{(second << 16) | (third << 8) | fourth}",
        f"{first:#x}.{second}.{third}.{fourth}",
        f"0{first:o}.{second}.{third}.{fourth:03d}0",
    ):
        with pytest.raises(ForbiddenAddressError):
            AddressRules(f"http://{spelling}/")


@given(st.text(max_size=40))
def test_any_text_is_a_url_or_a_refusal(text):
    for url in (text, f"http://{text}/"):
        with contextlib.suppress(ForbiddenAddressError):
            AddressRules(url)
