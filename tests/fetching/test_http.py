"""utils.fetching.http and connections: the rate, patience, what is refused, and that a key is never said."""

import gzip
import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from pyrate_limiter import RateItem

from tests.fakes.server import Answered, FakeHost, as_json, bomb, most_in_a_second
from tests.places import ROOT
from utils.fetching.connections import Site, Stopped
from utils.fetching.http import FetchError, Http, Limits, Reply, json_object

KEY = "0123456789abcdef0123456789abcdef"
QUICK = Limits(attempts=3, connect=10, stall=10, deadline=20, back_off=0.01, longest_back_off=0.05, failures=4)
# Short only where a test waits for the end of it, so that a busy machine fails no other.
SHORT = {"stall": replace(QUICK, stall=0.5)} | dict.fromkeys(("drip", "drip-headers"), replace(QUICK, deadline=0.6))


def accept(status: int, body: bytes) -> str | None:
    json_object(body)
    return None if status == 200 else f"nothing ({status})"


def get(http: Http, site: Site, path: str = "one", **options: int) -> Reply:
    return http.get(site, path, accept=accept, **options)


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost(lambda path, query, headers: as_json({"path": path, "query": query})) as fake:
        yield fake


@pytest.fixture
def http() -> Http:
    return Http(1000, QUICK)


# Rate


@pytest.mark.parametrize("rate", [0.5, 7.3, 40, 1000])
def test_the_rate_is_reached_and_never_passed(rate: float) -> None:
    pace, seconds = Http(rate)._pace, 20
    times = [ms / 1000 for ms in range(1000 * seconds) if pace.put(RateItem("", 10**6 + ms))]
    assert 0.95 * rate * seconds <= len(times) <= rate * seconds + 1 + rate / 40
    assert most_in_a_second(times) <= max(2, 1.1 * rate)


def test_threads_retries_and_redirects_share_the_rate(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.plan |= {"movie/1": ["500", "hop"], "movie/2": ["reset"], "movie/3": ["hop"]}
    http, site, granted = Http(40, connections=24), Site(host.url), []
    put = http._pace.put
    monkeypatch.setattr(http._pace, "put", lambda item: put(item) and not granted.append(item.timestamp / 1000))
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda number: get(http, site, f"movie/{number}"), range(60)))
    assert len(granted) == len(host.log) == 64
    assert most_in_a_second(granted) <= 44
    assert len({asked.port for asked in host.log}) <= 24 + 3


# Patience


@pytest.mark.parametrize(
    "fault", ["429", "500", "502", "503", "reset", "stall", "drip", "drip-headers", "short", "not-json", "html"]
)
def test_what_may_pass_is_tried_again(host: FakeHost, fault: str) -> None:
    host.plan["one"] = [fault]
    assert get(Http(1000, SHORT.get(fault, QUICK)), Site(host.url)).attempts == len(host.log) == 2


@pytest.mark.parametrize(
    ("fault", "reason", "requests"),
    [
        ("429!", r"the host answered 429 \(3 attempts\)", 3),
        ("503!", r"the host answered 503 \(3 attempts\)", 3),
        ("reset!", r"the connection broke \(3 attempts\)", 3),
        ("stall!", r"silent for too long \(3 attempts\)", 3),
        ("drip!", r"not whole after 0.6 seconds \(3 attempts\)", 3),
        ("drip-headers!", r"not whole after 0.6 seconds \(3 attempts\)", 3),
        ("short!", r"the connection broke \(3 attempts\)", 3),
        ("not-json!", r"the answer is not JSON \(JSONDecodeError\) \(3 attempts\)", 3),
        ("html!", r"the answer is not JSON \(JSONDecodeError\) \(3 attempts\)", 3),
        ("list!", r"the answer is a JSON list, not an object \(3 attempts\)", 3),
        ("403!", "the host answered 403$", 1),
        ("bomb!", "the answer has more than 4,194,304 bytes$", 1),
        ("elsewhere!", "redirects to another host$", 1),
        ("file!", "redirects to another host$", 1),
        ("loop!", "redirects more than 3 times$", 4),
    ],
)
def test_in_the_end_the_reason_is_said(host: FakeHost, fault: str, reason: str, requests: int) -> None:
    host.plan["one"] = [fault]
    with pytest.raises(FetchError, match=f"^{reason}") as caught:
        get(Http(1000, SHORT.get(fault.rstrip("!"), QUICK)), Site(host.url))
    assert len(host.log) == requests
    assert caught.value.attempts == (1 if fault == "loop!" else requests)


def test_no_host_at_all(http: Http) -> None:
    with pytest.raises(FetchError, match=r"no connection \(refused, or no such name\) \(3 attempts\)"):
        get(http, Site("http://127.0.0.1:9"))


def test_a_host_may_have_nothing() -> None:
    with FakeHost(lambda *_: as_json({"status_code": 34}, 404)) as fake:
        assert get(Http(1000, QUICK), Site(fake.url)).nothing == "nothing (404)"
        assert len(fake.log) == 1


@pytest.mark.parametrize("fault", ["429-after:1", "429-date:2"])
def test_retry_after_holds_back_everyone(host: FakeHost, http: Http, fault: str) -> None:
    host.plan["movie/0"] = [fault]
    site = Site(host.url)
    first = threading.Thread(target=lambda: get(http, site, "movie/0"))
    first.start()
    while not any(each.hold_until for each in http._hosts.values()):
        time.sleep(0.001)
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda number: get(http, site, f"movie/{number}"), range(1, 9)))
    first.join()
    assert {reply.attempts for reply in replies} == {1}
    # A date has whole seconds: two seconds ahead is at least one.
    assert min(asked.at for asked in host.log[1:]) - host.log[0].at >= 0.95
    assert len(host.log) == 10


def test_a_retry_after_that_takes_too_long_ends_it(host: FakeHost, http: Http, capsys: pytest.CaptureFixture) -> None:
    host.plan["one"] = ["429-after:3600"]
    for path in ("one", "two"):
        with pytest.raises(FetchError, match=r"127.0.0.1:\d+ asks to wait 3,600 seconds; run this again then"):
            get(http, Site(host.url), path)
    assert len(host.log) == 1
    assert "asks to wait 3,600 seconds" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["soon", "-5", "Thu, 99 Foo 2026", "", "1e9"])
def test_a_retry_after_that_makes_no_sense_is_not_heeded(host: FakeHost, http: Http, value: str) -> None:
    host.plan["one"] = [f"429-after:{value}"]
    assert get(http, Site(host.url)).attempts == 2


# A host that is down, or that is not itself


@pytest.mark.parametrize("fault", ["503", "html", "elsewhere", "404"])
def test_the_circuit_opens_says_so_and_the_rest_ends_at_once(
    host: FakeHost, http: Http, fault: str, capsys: pytest.CaptureFixture
) -> None:
    """Whether it is down, or the login page of a network answers in its place."""
    host.plan |= {f"movie/{number}": [f"{fault}!"] for number in range(200)}
    site, reasons = Site(host.url), []

    def ask(number: int) -> None:
        with pytest.raises(FetchError) as caught:
            get(http, site, f"movie/{number}")
        reasons.append(str(caught.value))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(200)))
    assert len(host.log) <= (4 + 4) * 3
    assert sum("is down: 4 requests in a row failed, the last with: " in reason for reason in reasons) > 180
    said = capsys.readouterr().err
    assert said.count("is down") == said.count("left for another run") == 1
    http.resume()
    assert get(http, site, "fine").attempts == 1


def test_one_answer_in_between_keeps_the_circuit_closed(host: FakeHost, http: Http) -> None:
    host.plan["bad"] = ["500!"]
    for path in ("bad", "bad", "bad", "good") * 3:
        if path == "good":
            assert get(http, Site(host.url), path).attempts == 1
        else:
            with pytest.raises(FetchError, match="the host answered 500"):
                get(http, Site(host.url), path)


def test_one_host_that_is_down_does_not_stop_another(host: FakeHost, http: Http) -> None:
    for _ in range(6):
        with pytest.raises(FetchError):
            get(http, Site("http://127.0.0.1:9"))
    assert get(http, Site(host.url)).attempts == 1


# What is refused


def test_sizes_are_counted_after_unpacking(http: Http) -> None:
    def packed(body: bytes, coding: str = "gzip") -> Answered:
        return Answered(200, body, {"Content-Encoding": coding})

    answers = {
        "/plain": Answered(200, b" " * 4999 + b"{}"),
        "/packed": packed(gzip.compress(b" " * 4999 + b"{}")),
        "/fits": packed(gzip.compress(b" " * 4998 + b"{}")),
        "/cut": packed(gzip.compress(b" " * 4998 + b"{}")[:-9]),
        "/junk": packed(b"{}"),
        "/other": packed(b"\x0b\x02\x80", "unheard-of"),
    }
    with FakeHost(lambda path, query, headers: answers[path]) as fake:
        assert len(get(http, Site(fake.url), "fits", most=5000).body) == 5000
        for path, reason in {
            "plain": "more than 5,000 bytes",
            "packed": "more than 5,000 bytes",
            "cut": "the answer is not JSON",
            "junk": "the answer does not unpack",
            "other": "the answer is not JSON",
        }.items():
            http.resume()
            with pytest.raises(FetchError, match=reason):
                get(http, Site(fake.url), path, most=5000)


def test_a_bomb_takes_no_memory_in_an_answer_or_a_redirect() -> None:
    code = (
        "from resource import *; import sys; from utils.fetching.http import *; h = Http(100); s = Site(sys.argv[1])\n"
        "ask = lambda path: h.get(s, path, accept=lambda status, body: None)\n"
        "ask('fine'); before = getrusage(RUSAGE_SELF).ru_maxrss; ask('redirect')\n"
        "try: ask('answer')\n"
        "except FetchError as error: print(error, (getrusage(RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    packed = {"Content-Encoding": "gzip"}
    answers = {"/fine": as_json({}), "/answer": Answered(200, bomb(), packed)}
    answers["/redirect"] = Answered(302, bomb(), packed | {"Location": "/fine"})
    with FakeHost(lambda path, query, headers: answers[path]) as fake:
        done = subprocess.run([sys.executable, "-c", code, fake.url], cwd=ROOT, capture_output=True, text=True)
    assert "has more than 4,194,304 bytes" in done.stdout, done.stderr
    assert int(done.stdout.split()[-1]) < 30


def test_deep_json_is_no_crash(http: Http) -> None:
    with (
        FakeHost(lambda *_: Answered(200, b'{"a":' * 100_000)) as fake,
        pytest.raises(FetchError, match="the answer is not JSON"),
    ):
        get(http, Site(fake.url, secrets=(KEY,)))


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:22/",
        "//example.invalid/",
        "https://127.0.0.1/",
        "file:///etc/passwd",
        "http://[",
    ],
)
def test_redirects_stay_on_the_host(host: FakeHost, http: Http, target: str) -> None:
    host.plan["one"] = ["hop"]
    assert get(http, Site(host.url)).attempts == 1
    with FakeHost(lambda *_: as_json({})) as other:
        for host.elsewhere in (target, f"{other.url}/there"):
            host.plan["two"] = ["elsewhere!"]
            with pytest.raises(FetchError, match="redirects to an"):
                get(http, Site(host.url), "two")
        assert other.log == []


# Keys


@pytest.mark.parametrize("as_query", [True, False])
@pytest.mark.parametrize(
    "fault", [None, "hop", "500!", "reset!", "stall!", "loop!", "elsewhere!", "not-json!", "bomb!"]
)
def test_the_key_is_sent_and_never_said(
    host: FakeHost,
    fault: str | None,
    as_query: bool,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    # A login that requests would send in the place of ours.
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    host.plan["one"] = [fault] if fault else []
    headers = {} if as_query else {"Authorization": f"Bearer {KEY}"}
    site = Site(host.url, headers, f"api_key={KEY}" if as_query else "", (KEY,))
    host.elsewhere = f"http://example.invalid/?api_key={KEY}"
    said = repr(site)
    try:
        http = Http(1000, SHORT["stall"] if fault == "stall!" else QUICK)
        http.get(site, "one", {"language": "fr"} if fault is None else None, accept=accept)
        assert fault in (None, "hop")
    except FetchError as error:
        assert fault not in (None, "hop")
        said += str(error) + repr(error) + repr(error.__cause__)
    assert {asked.secret for asked in host.log} == {KEY if as_query else f"Bearer {KEY}"}
    assert caplog.records
    assert KEY not in said + caplog.text + "".join(capsys.readouterr())


QUOTED = "".join(f"%{ord(letter):02x}" for letter in KEY)
ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in KEY)


@pytest.mark.parametrize(
    "answer",
    [
        Answered(200, f'{{"overview": "sent {KEY}"}}'.encode()),
        Answered(200, f'{{"overview": "sent {ESCAPED}"}}'.encode()),
        Answered(200, f'{{"{ESCAPED}": 1}}'.encode()),
        Answered(200, f'{{"overview": "sent {QUOTED}"}}'.encode()),
        Answered(200, f'{{"overview": "{ESCAPED}"}}'.encode("utf-16")),
        Answered(404, f"<h1>{KEY}".encode()),
        *(
            Answered(302, b"", {"Location": target})
            for target in (f"http://{KEY}.evil.test/", f"{KEY}://x/", f"/{KEY}", f"/a?b={quote(QUOTED)}", f"/{QUOTED}")
        ),
    ],
    ids=repr,
)
def test_an_answer_that_echoes_the_key_is_not_kept_and_not_said(
    answer: Answered, http: Http, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeHost(lambda *_: answer) as fake:
        site = Site(fake.url, secret_query=f"api_key={KEY}", secrets=(KEY,))
        with pytest.raises(
            FetchError, match=r"the (answer|redirect) echoes the key|redirects to another host"
        ) as caught:
            get(http, site)
    assert len(fake.log) == 1
    said = str(caught.value) + caplog.text
    assert KEY not in said
    assert QUOTED not in said


# Stopping


def test_stop_ends_waiting_and_reading_in_other_threads(host: FakeHost) -> None:
    patient = Limits(stall=60, deadline=60, back_off=60, attempts=3)
    host.plan |= {"stall": ["stall!"], "drip": ["drip!"], "held": ["429-after:60"]}
    http, site, ends = Http(1000, patient), Site(host.url), []

    def ask(path: str) -> None:
        with pytest.raises(Stopped):
            get(http, site, path)
        ends.append(path)

    threads = [threading.Thread(target=ask, args=(path,)) for path in ("stall", "drip", "held")]
    for thread in threads:
        thread.start()
    while len(host.log) < 3:
        time.sleep(0.01)
    start = time.monotonic()
    http.stop()
    for thread in threads:
        thread.join()
    assert time.monotonic() - start < 4
    assert sorted(ends) == ["drip", "held", "stall"]
    with pytest.raises(Stopped):
        get(http, site)
    http.resume()
    assert json.loads(get(http, site).body)["path"] == "/one"


def test_ctrl_c_ends_the_process_soon(host: FakeHost) -> None:
    host.plan["one"] = ["drip!"]
    code = (
        "import sys; from utils.fetching.http import *\n"
        "Http(100).get(Site(sys.argv[1]), 'one', accept=lambda status, body: None)"
    )
    with subprocess.Popen([sys.executable, "-c", code, host.url], cwd=ROOT, stderr=subprocess.PIPE) as process:
        while not host.log:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        assert process.stderr is not None
        assert b"KeyboardInterrupt" in process.stderr.read()
    assert time.monotonic() - start < 4
