"""utils.fetching.fetcher: its rate, its patience, what it refuses, and that it never says a key."""

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

import pytest

from tests.fakes.server import Answered, FakeHost, as_json, most_in_a_second
from tests.places import ROOT
from utils.content.providers.client import json_object
from utils.fetching.fetcher import Fetcher, Limits, Pace, Site, Stopped, Unreachable, Unusable

KEY = "0123456789abcdef0123456789abcdef"
QUICK = Limits(attempts=3, connect=1, stall=0.3, deadline=0.6, back_off=0.01, longest_back_off=0.05, failures=4)


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost(lambda path, query, headers: as_json({"path": path, "query": query})) as fake:
        yield fake


def get(fake: FakeHost, path: str = "one", limits: Limits = QUICK, rate: float = 1000, **options: object):
    with_check = {"check": json_object} | options
    return Fetcher(rate, limits).get(Site(fake.url), path, **with_check)  # type: ignore[arg-type]


# Rate


@pytest.mark.parametrize("connections", [8, 24])
def test_the_rate_is_reached_and_never_passed(host: FakeHost, connections: int, capsys: pytest.CaptureFixture) -> None:
    rate, seconds = 40, 4
    fetcher, site = Fetcher(rate, connections=connections), Site(host.url)
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(lambda n: fetcher.get(site, f"movie/{n}"), range(rate * seconds)))
    times = [asked.at for asked in host.log]
    sustained = (len(times) - 1) / (max(times) - min(times))
    most = most_in_a_second(times)
    with capsys.disabled():
        print(f"\n{sustained:.1f} requests/s of {rate} sustained, at most {most} in any second, {connections} threads")
    assert sustained >= 0.9 * rate
    assert most <= rate + rate / 10
    assert len({asked.port for asked in host.log}) <= connections


def test_pauses_earn_a_quarter_of_the_burst_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("utils.fetching.fetcher.time.monotonic", lambda: now[0])
    pace = Pace(10, burst=8)
    assert [pace.slot() < 1e-6 for _ in range(5)] == [True, True, True, False, False]
    now[0] += 3600
    assert [pace.slot() < 1e-6 for _ in range(5)] == [True, True, True, False, False]
    assert pace.slot() == pytest.approx(0.3)


# Patience


@pytest.mark.parametrize("fault", ["429", "500", "502", "503", "reset", "stall", "drip", "drip-headers", "short"])
def test_what_may_pass_is_tried_again(host: FakeHost, fault: str) -> None:
    host.plan["one"] = [fault]
    start = time.monotonic()
    reply = get(host)
    assert (reply.status, reply.attempts, len(host.log)) == (200, 2, 2)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("429!", "the host answered 429"),
        ("503!", "the host answered 503"),
        ("reset!", "the connection broke"),
        ("stall!", "silent for too long"),
        ("drip!", "not whole after 0.6 seconds"),
        ("drip-headers!", "not whole after 0.6 seconds"),
        ("short!", "the connection broke"),
    ],
)
def test_after_all_attempts_the_reason_is_said(host: FakeHost, fault: str, reason: str) -> None:
    host.plan["one"] = [fault]
    with pytest.raises(Unreachable, match=f"{reason} \\(3 attempts\\)") as caught:
        get(host)
    assert caught.value.attempts == len(host.log) == 3


def test_no_host_at_all() -> None:
    with pytest.raises(Unreachable, match=r"no connection \(refused, or no such name\) \(3 attempts\)"):
        Fetcher(1000, QUICK).get(Site("http://127.0.0.1:9"), "one")


def test_other_refusals_are_not_repeated(host: FakeHost) -> None:
    host.plan["one"] = ["403!"]
    with pytest.raises(Unreachable, match="the host answered 403"):
        get(host)
    assert len(host.log) == 1


def test_404_and_401_are_answers(host: FakeHost) -> None:
    host.plan |= {"one": ["404"], "two": ["401"]}
    assert [get(host, path).status for path in ("one", "two")] == [404, 401]


@pytest.mark.parametrize("fault", ["429-after:1", "429-date:2"])
def test_retry_after_holds_back_everyone(host: FakeHost, fault: str) -> None:
    host.plan["movie/0"] = [fault]
    fetcher, site = Fetcher(1000, QUICK), Site(host.url)
    assert fetcher.get(site, "warm").attempts == 1
    first = threading.Thread(target=lambda: fetcher.get(site, "movie/0"))
    first.start()
    while len(host.log) < 2 or host.log[1].whole_at is None:
        time.sleep(0.002)
    time.sleep(0.05)
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda n: fetcher.get(site, f"movie/{n}"), range(1, 9)))
    first.join()
    assert {reply.attempts for reply in replies} == {1}
    # A date has whole seconds: two seconds ahead is at least one.
    assert min(asked.at for asked in host.log[2:]) - host.log[1].at >= 0.95
    assert len(host.log) == 11


def test_a_retry_after_that_takes_too_long_ends_it(host: FakeHost, capsys: pytest.CaptureFixture) -> None:
    host.plan["one"] = ["429-after:3600"]
    fetcher, site = Fetcher(1000, QUICK), Site(host.url)
    for path in ("one", "two"):
        with pytest.raises(Unreachable, match=r"127.0.0.1:\d+ asks to wait 3,600 seconds; run this again then"):
            fetcher.get(site, path)
    assert len(host.log) == 1
    assert "asks to wait 3,600 seconds" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["soon", "-5", "Thu, 99 Foo 2026", ""])
def test_a_retry_after_that_makes_no_sense_is_not_heeded(host: FakeHost, value: str) -> None:
    host.plan["one"] = [f"429-after:{value}"]
    assert get(host).attempts == 2


# A host that is down


def test_the_circuit_opens_says_so_and_the_rest_ends_at_once(host: FakeHost, capsys: pytest.CaptureFixture) -> None:
    for number in range(200):
        host.plan[f"movie/{number}"] = ["503!"]
    fetcher, site = Fetcher(1000, QUICK), Site(host.url)
    reasons = []

    def ask(number: int) -> None:
        try:
            fetcher.get(site, f"movie/{number}")
        except Unreachable as error:
            reasons.append(str(error))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(200)))
    assert len(reasons) == 200
    assert len(host.log) <= (4 + 4) * 3
    down = [reason for reason in reasons if "is down: 4 requests in a row failed, the last with: " in reason]
    assert len(down) > 180
    said = capsys.readouterr().err
    assert said.count("is down") == 1
    assert "left for another run" in said
    fetcher.resume()
    assert fetcher.get(site, "fine").status == 200


def test_one_answer_in_between_keeps_the_circuit_closed(host: FakeHost) -> None:
    fetcher, site = Fetcher(1000, QUICK), Site(host.url)
    for number in range(12):
        host.plan["bad"] = ["500!"]
        if number % 3 == 2:
            assert fetcher.get(site, "good").status == 200
        else:
            with pytest.raises(Unreachable, match="the host answered 500"):
                fetcher.get(site, "bad")


def test_one_host_that_is_down_does_not_stop_another(host: FakeHost) -> None:
    fetcher = Fetcher(1000, QUICK)
    for _ in range(6):
        with pytest.raises(Unreachable):
            fetcher.get(Site("http://127.0.0.1:9"), "one")
    assert fetcher.get(Site(host.url), "one").status == 200


# What is refused


@pytest.mark.parametrize(
    ("fault", "reason", "requests"),
    [
        ("bomb!", "the answer has more than 4,194,304 bytes", 1),
        ("not-json!", "the answer is not JSON", 2),
        ("html!", "the answer is not JSON", 2),
        ("list!", "the answer is a JSON list, not an object", 2),
        ("elsewhere!", "redirects to another host \\(example.invalid\\)", 1),
        ("file!", "redirects to file://, which is not allowed", 1),
        ("loop!", "redirects more than 3 times", 4),
    ],
)
def test_answers_that_cannot_be_used(host: FakeHost, fault: str, reason: str, requests: int) -> None:
    host.plan["one"] = [fault]
    with pytest.raises(Unusable, match=reason):
        get(host)
    assert len(host.log) == requests


def test_a_bad_body_once_is_forgiven(host: FakeHost) -> None:
    host.plan["one"] = ["not-json"]
    assert get(host).attempts == 2


def test_sizes_are_counted_before_and_after_unpacking() -> None:
    plain = Answered(200, b"x" * 5001)
    packed = Answered(200, gzip.compress(bytes(5001)), {"Content-Encoding": "gzip"})
    fits = Answered(200, gzip.compress(bytes(5000)), {"Content-Encoding": "gzip"})
    cut = Answered(200, gzip.compress(bytes(5000))[:-9], {"Content-Encoding": "gzip"})
    other = Answered(200, b"x", {"Content-Encoding": "br"})
    answers = {"/plain": plain, "/packed": packed, "/fits": fits, "/cut": cut, "/other": other}
    with FakeHost(lambda path, query, headers: answers[path]) as fake:
        assert get(fake, "fits", check=None, most=5000).body == bytes(5000)
        for path, reason in {
            "plain": "more than 5,000 bytes",
            "packed": "more than 5,000 bytes",
            "cut": "gzip cut short",
            "other": "packed as 'br', which was not asked for",
        }.items():
            with pytest.raises(Unusable, match=reason):
                get(fake, path, check=None, most=5000)


def test_a_bomb_takes_no_memory() -> None:
    code = (
        "import resource, sys; from utils.fetching.fetcher import *; f = Fetcher(100); s = Site(sys.argv[1])\n"
        "f.get(s, 'warm'); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: f.get(s, 'one')\n"
        "except Unusable as error: print(error, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    with FakeHost(lambda path, query, headers: as_json({})) as fake:
        fake.plan["one"] = ["bomb!"]
        done = subprocess.run([sys.executable, "-c", code, fake.url], cwd=ROOT, capture_output=True, text=True)
    assert "has more than 4,194,304 bytes" in done.stdout, done.stderr
    assert int(done.stdout.split()[-1]) < 30


def test_deep_json_is_no_crash() -> None:
    deep = Answered(200, b'{"a":' * 100_000)
    with (
        FakeHost(lambda path, query, headers: deep) as fake,
        pytest.raises(Unusable, match="the answer is not JSON"),
    ):
        get(fake)


def test_redirects_stay_on_the_host_unless_another_is_listed(host: FakeHost) -> None:
    host.plan["one"] = ["hop"]
    assert get(host).attempts == 1
    with FakeHost(lambda path, query, headers: as_json({"here": "elsewhere"})) as other:
        host.elsewhere = other.url + "/there"
        host.plan["two"] = ["elsewhere!"]
        with pytest.raises(Unusable, match=r"redirects to another host \(127.0.0.1\)"):
            get(host, "two")
        assert other.log == []
        also = frozenset([f"127.0.0.1:{other.port}"])
        site = Site(host.url, {"Authorization": f"Bearer {KEY}"}, ("api_key", KEY), (KEY,), also)
        assert json.loads(Fetcher(1000, QUICK).get(site, "two").body) == {"here": "elsewhere"}
        assert [asked.secret for asked in host.log[-1:]] == [KEY]
        assert other.log[0].secret is None
        assert KEY not in str(other.log)


# Keys


@pytest.mark.parametrize("as_query", [True, False])
@pytest.mark.parametrize(
    "fault", [None, "hop", "500!", "reset!", "stall!", "loop!", "elsewhere!", "not-json!", "bomb!"]
)
def test_the_key_is_sent_and_never_said(
    host: FakeHost, fault: str | None, as_query: bool, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    host.plan["one"] = [fault] if fault else []
    site = Site(
        host.url,
        {} if as_query else {"Authorization": f"Bearer {KEY}"},
        ("api_key", KEY) if as_query else None,
        (KEY,),
    )
    host.elsewhere = f"http://example.invalid/?api_key={KEY}"
    said = repr(site)
    try:
        Fetcher(1000, QUICK).get(site, "one", {"language": "fr"} if fault is None else None, check=json_object)
    except (Unreachable, Unusable) as error:
        said += str(error) + repr(error) + repr(error.__cause__)
    assert {asked.secret for asked in host.log} == {KEY if as_query else f"Bearer {KEY}"}
    assert KEY not in said
    assert caplog.records
    assert KEY not in caplog.text
    assert KEY not in "".join(capsys.readouterr())


def test_an_answer_that_echoes_the_key_is_not_kept() -> None:
    with FakeHost(lambda path, query, headers: as_json({"you_sent": headers["api_key"]})) as fake:
        site = Site(fake.url, secret_query=("api_key", KEY), secrets=(KEY,))
        with pytest.raises(Unusable, match="the answer echoes the key"):
            Fetcher(1000, QUICK).get(site, "one")


# Stopping


def test_stop_ends_waiting_and_reading_in_other_threads(host: FakeHost) -> None:
    patient = Limits(stall=60, deadline=60, back_off=60, attempts=3)
    host.plan |= {"stall": ["stall!"], "drip": ["drip!"], "held": ["429-after:60"]}
    fetcher, site, ends = Fetcher(1000, patient), Site(host.url), []

    def ask(path: str) -> None:
        try:
            fetcher.get(site, path)
        except Stopped:
            ends.append(path)

    threads = [threading.Thread(target=ask, args=(path,)) for path in ("stall", "drip", "held")]
    for thread in threads:
        thread.start()
    while len(host.log) < 3:
        time.sleep(0.01)
    time.sleep(0.1)
    start = time.monotonic()
    fetcher.stop()
    for thread in threads:
        thread.join()
    assert time.monotonic() - start < 1
    assert sorted(ends) == ["drip", "held", "stall"]
    with pytest.raises(Stopped):
        fetcher.get(site, "one")


def test_ctrl_c_ends_the_process_soon(host: FakeHost) -> None:
    host.plan["one"] = ["drip!"]
    code = "import sys; from utils.fetching.fetcher import *; Fetcher(100).get(Site(sys.argv[1]), 'one')"
    with subprocess.Popen([sys.executable, "-c", code, host.url], cwd=ROOT, stderr=subprocess.PIPE) as process:
        while not host.log:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        assert process.stderr is not None
        assert b"KeyboardInterrupt" in process.stderr.read()
    assert time.monotonic() - start < 2
