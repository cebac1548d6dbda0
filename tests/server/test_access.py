"""Who may ask what: keys, hosts, pages of other origins, and what they get to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from convai_lab.errors import InvalidValueError
from convai_lab.server.access import is_loopback, read_origin
from convai_lab.server.auth import Signed

Make = Callable[..., Any]

KEYED = [
    ("GET", "/v1/convai/agents"),
    ("POST", "/v1/convai/agents/create"),
    ("GET", "/v1/convai/agents/{agent}"),
    ("PATCH", "/v1/convai/agents/{agent}"),
    ("DELETE", "/v1/convai/agents/{agent}"),
    ("POST", "/v1/convai/agents/{agent}/duplicate"),
    ("GET", "/v1/convai/agents/{agent}/link"),
    ("GET", "/v1/convai/conversations"),
    ("GET", "/v1/convai/conversations/conv_1"),
    ("DELETE", "/v1/convai/conversations/conv_1"),
    ("GET", "/v1/convai/conversations/conv_1/audio"),
    ("GET", "/v1/convai/conversation/get-signed-url?agent_id={agent}"),
    ("GET", "/v1/convai/conversation/get_signed_url?agent_id={agent}"),
    ("POST", "/v1/convai/twilio/outbound-call"),
    ("GET", "/v1/convai/phone-numbers"),
    ("GET", "/v1/convai/llm/list"),
    ("POST", "/v1/convai/llm-usage/calculate"),
    ("GET", "/v1/voices"),
    ("GET", "/v2/voices"),
    ("GET", "/v1/models"),
    ("GET", "/v1/user"),
    ("GET", "/v1/user/subscription"),
    ("PUT", "/v1/local/settings"),
    ("GET", "/v1/local/status"),
    ("GET", "/v1/local/agents/{agent}/versions"),
    ("GET", "/v1/local/conversations.ndjson"),
    ("POST", "/v1/local/conversations"),
    ("POST", "/v1/local/conversations/conv_1/undo"),
]
BAD_ORIGINS = ["null", "https://evil.example", "http://127.0.0.1.evil.example", "http://localhost@evil.example", "x"]


def status_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["detail"]["status"]


def test_the_table_above_names_every_route_that_needs_a_key(bench: Make) -> None:
    from convai_lab.server.app import build_app

    keyless = {"/widget", "/feedback", "/token", "/conversation"}
    routes = {getattr(route, "path", "") for route in build_app(bench().platform).routes}
    known = {path.partition("?")[0].replace("{agent}", "{agent_id}") for _, path in KEYED}
    known = {path.replace("conv_1", "{conversation_id}") for path in known}
    unknown = {path for path in routes - known if not any(path.endswith(end) for end in keyless)}
    sockets = {"/v1/local/session", "/v1/local/cloud_session"}  # what they refuse is in test_session_routes
    windows = {path for path in unknown if f"{path}/".startswith("/window/")}  # theirs is in test_window_page
    assert unknown - sockets - windows == {"/v1/voices/{voice_id}"}


@pytest.mark.parametrize(("method", "path"), KEYED)
async def test_every_other_route_needs_the_key(bench: Make, method: str, path: str) -> None:
    a_bench = bench()
    path = path.format(agent=a_bench.make_agent())
    async with a_bench.client(key=None) as client:
        assert status_of(await client.request(method, path)) == (401, "needs_authorization")
        wrong = await client.request(method, path, headers={"xi-api-key": "lab_wrong"})
        assert status_of(wrong) == (401, "invalid_api_key")
        odd = await client.request(method, path, headers={b"xi-api-key": "schlüssel".encode()})  # type: ignore[dict-item]
        assert odd.status_code == 401


@pytest.mark.parametrize(("method", "path"), KEYED)
async def test_pages_get_nothing_from_the_other_routes(bench: Make, method: str, path: str) -> None:
    a_bench = bench()
    path = path.format(agent=a_bench.make_agent())
    for origin in BAD_ORIGINS:
        async with a_bench.client(origin=origin) as client:
            answer = await client.request(method, path)
            assert status_of(answer) == (403, "forbidden_origin")
            assert "access-control-allow-origin" not in answer.headers
    async with a_bench.client(key=None, origin="http://localhost:3000") as client:
        preflight = await client.options(path, headers={"access-control-request-method": method})
        assert preflight.status_code == 405
        answer = await client.request(method, path)
        assert answer.status_code == 401
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "0.0.0.0:8300", "192.168.0.7", "[::2]", "@127.0.0.1", "127.0.0.1:x"],
)
async def test_a_request_under_another_host_name_is_refused(bench: Make, host: str) -> None:
    a_bench = bench()
    async with a_bench.client(host=host) as client:
        for path in ("/v1/convai/agents", f"/v1/convai/agents/{a_bench.make_agent()}/widget", "/nowhere"):
            assert status_of(await client.get(path)) == (403, "forbidden_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8300", "127.0.0.1:1", "127.5.6.7", "[::1]:8300"])
async def test_the_names_of_this_machine_are_fine(bench: Make, host: str) -> None:
    async with bench().client(host=host) as client:
        assert (await client.get("/v1/convai/agents")).status_code == 200


async def test_opened_to_the_network_it_answers_to_addresses_but_not_to_other_names(bench: Make) -> None:
    a_bench = bench(bound_host="0.0.0.0")
    async with a_bench.client(host="192.168.0.7:8300") as client:
        assert (await client.get("/v1/convai/agents")).status_code == 200
    async with a_bench.client(host="evil.example") as client:
        assert (await client.get("/v1/convai/agents")).status_code == 403


async def test_widget_pages_are_those_of_this_machine_the_allowlist_and_allow_origin(bench: Make) -> None:
    a_bench = bench(allow_origins=["https://desk.example:8443/"])
    open_id = a_bench.make_agent()
    listed_id = a_bench.make_agent(platform_settings__auth={"allowlist": [{"hostname": "shop.example"}]})
    allowed = {
        open_id: ["http://localhost:9", "http://127.0.0.1", "https://desk.example:8443"],
        listed_id: ["https://shop.example", "http://shop.example:81", "http://localhost:9"],
    }
    refused = {
        open_id: ["https://shop.example", "https://desk.example", "http://desk.example:8443", *BAD_ORIGINS],
        listed_id: ["https://www.shop.example", "https://notshop.example", *BAD_ORIGINS],
    }
    async with a_bench.client(key=None) as client:
        for agent_id, origins in allowed.items():
            for origin in origins:
                path = f"/v1/convai/agents/{agent_id}/widget"
                answer = await client.get(path, headers={"origin": origin})
                assert answer.status_code == 200
                assert answer.headers["access-control-allow-origin"] == origin
                assert answer.headers["vary"] == "origin"
        for agent_id, origins in refused.items():
            for origin in origins:
                answer = await client.get(f"/v1/convai/agents/{agent_id}/widget", headers={"origin": origin})
                assert status_of(answer) == (403, "forbidden_origin")
                assert "access-control-allow-origin" not in answer.headers


async def test_a_hidden_image_on_another_site_reads_nothing(bench: Make) -> None:
    a_bench = bench()
    async with a_bench.client(key=None, **{"sec-fetch-site": "cross-site"}) as client:
        answer = await client.get(f"/v1/convai/agents/{a_bench.make_agent()}/widget")
    assert status_of(answer) == (403, "forbidden_origin")


async def test_an_agent_with_auth_gives_its_widget_to_signatures_and_the_key(bench: Make) -> None:
    a_bench = bench()
    agent_id = a_bench.make_agent(platform_settings__auth={"enable_auth": True})
    path = f"/v1/convai/agents/{agent_id}/widget"
    good = a_bench.platform.door.signer.sign(agent_id, Signed(int(a_bench.clock.wall()) + 60))
    old = a_bench.platform.door.signer.sign(agent_id, Signed(int(a_bench.clock.wall()) - 60))
    async with a_bench.client(key=None) as client:
        assert status_of(await client.get(path)) == (401, "needs_authorization")
        page = await client.get(path, headers={"origin": "http://localhost:1"})
        assert status_of(page) == (401, "needs_authorization")
        assert (await client.get(path, params={"conversation_signature": good})).status_code == 200
        assert status_of(await client.get(path, params={"conversation_signature": old})) == (401, "expired_signature")
        assert status_of(await client.get(path, params={"conversation_signature": "x"})) == (401, "invalid_signature")
    async with a_bench.client() as client:
        assert (await client.get(path)).status_code == 200


async def test_an_agent_that_wants_an_origin_refuses_programs(bench: Make) -> None:
    a_bench = bench()
    agent_id = a_bench.make_agent(platform_settings__auth={"require_origin_header": True})
    path = f"/v1/convai/agents/{agent_id}/widget"
    async with a_bench.client(key=None) as client:
        assert (await client.get(path)).status_code == 403
        assert (await client.get(path, headers={"origin": "http://localhost:1"})).status_code == 200


async def test_no_keyless_closes_the_open_routes(bench: Make) -> None:
    a_bench = bench(keyless=False)
    path = f"/v1/convai/agents/{a_bench.make_agent()}/widget"
    async with a_bench.client(key=None) as client:
        assert status_of(await client.get(path)) == (401, "needs_authorization")
    async with a_bench.client() as client:
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "null",
        "",
        "localhost:3000",
        "http://*.example",
        "http://a/b",
        "ftp://a",
        "http://u@a",
        "http://a:b",
        "http://[x",
    ],
)
def test_allow_origin_takes_origins_only(text: str) -> None:
    with pytest.raises(InvalidValueError, match="not an origin"):
        read_origin(text)


def test_origins_have_one_spelling() -> None:
    assert read_origin("HTTPS://Shop.Example:443/") == "https://shop.example"
    assert read_origin("http://[::1]:80") == "http://[::1]"


def test_only_this_machine_is_loopback() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"))
    assert not any(
        is_loopback(host) for host in ("", "0.0.0.0", "localhost.", "10.0.0.1", "2130706433", "::ffff:1.2.3.4")
    )
