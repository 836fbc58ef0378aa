"""What is recommended: what fits, how fast it can be, and which is best only where that was measured."""

import json
from pathlib import Path

import pytest

from support.model import tiny_model
from tokwatt_exporter import catalogue as c
from tokwatt_exporter import cli, shell
from tokwatt_exporter.advisor import bandwidth, measured, report
from tokwatt_exporter.advisor.advise import advise
from tokwatt_exporter.advisor.candidates import Candidate, ollama_file, served_path
from tokwatt_exporter.advisor.model import Model
from tokwatt_exporter.advisor.room import room
from tokwatt_exporter.snapshot import Snapshot

GIB = 2**30


def mac(*more, cores="40"):
    return Snapshot.of(0, [
        c.HOST_INFO(os="macOS", chip="Apple M4 Max"),
        c.DEVICE_INFO(device="gpu0", kind="gpu", vendor="Apple", cores=cores),
        c.MEMORY_SIZE(64 * GIB), c.MEMORY_AVAILABLE(50 * GIB), c.GPU_MEMORY_USED(2 * GIB, device="gpu0"), *more,
    ])  # fmt: skip


def model(name="big", gib=40, **more):
    facts = {
        "kv_bytes_per_token": 2**17,
        "width": 4096,
        "feed": 14336,
        "trained_context": 131_072,
        "active_bytes": gib * GIB,
    }
    return Model(name=name, format="gguf", weights_bytes=gib * GIB, path=Path(f"{name}.gguf"), **(facts | more))


def run(model, speed, ci95=None, engine="ollama", run_id=None, problems=(), **conditions):
    row = {
        "run_id": run_id or f"{model}-{engine}", "engine": engine, "model": model, "host": "here",
        "scenario": "default", "concurrency": 1, "max_tokens": 128, "settings": json.dumps({"prompt_characters": 100}),
        "result": {"generation_tokens_per_second": {"p50": speed, "ci95": ci95}, "conditions": {"problems": problems}},
        **conditions,
    }  # fmt: skip
    return measured.run_of(row, measured.FIGURES["throughput"])


def advice(*models, now=None, runs=(), use_case="throughput", context=8192):
    found = [Candidate(one.name, one, None) for one in models]
    return advise(found, now or mac(), runs, use_case, context)


def test_a_model_fits_into_the_limit_that_was_set_and_not_into_more():
    now = mac(c.GPU_MEMORY_SIZE(48 * GIB, device="gpu0"))
    fits, tight, large = (
        one.as_json()["memory"] for one in advice(model("a", 30), model("b", 45), model("c", 48), now=now).advice
    )
    assert (fits["fits"], fits["fits_now"]) == (True, True)
    assert (tight["fits"], tight["fits_now"]) == (True, False)
    assert large["fits"] is False
    assert fits["needed_bytes"] == 30 * GIB + 8192 * 2**17 + 512 * (4 * (5 * 4096 + 3 * 14336) + 2 * 8192)


def test_where_macos_does_not_tell_its_limit_two_thirds_are_sure_and_the_rest_is_not_known():
    here = room(mac())
    assert [here.fits(gib * GIB) for gib in (42, 43, 64, 65)] == [True, None, None, False]
    assert here.fits(None) is None


def test_a_gpu_with_memory_of_its_own_is_what_models_must_fit_into():
    card = [c.GPU_MEMORY_SIZE(24 * GIB, device="gpu0"), c.GPU_MEMORY_USED(4 * GIB, device="gpu0")]
    here = room(Snapshot.of(0, [c.MEMORY_SIZE(256 * GIB), c.MEMORY_AVAILABLE(200 * GIB), *card]))
    assert (here.fits(22 * GIB), here.fits_now(22 * GIB), here.fits(25 * GIB)) == (True, False, False)


def test_without_a_gpu_it_is_the_memory_of_the_machine_and_without_that_nothing_is_known():
    here = room(Snapshot.of(0, [c.MEMORY_SIZE(16 * GIB), c.MEMORY_AVAILABLE(4 * GIB)]))
    assert (here.fits(8 * GIB), here.fits_now(8 * GIB), here.fits_now(3 * GIB)) == (True, False, True)
    nothing = room(Snapshot.of(0, []))
    assert (nothing.fits(GIB), nothing.fits_now(GIB)) == (None, None)


def test_the_longest_context_is_what_is_left_and_no_more_than_was_trained():
    now = mac(c.GPU_MEMORY_SIZE(48 * GIB, device="gpu0"))
    short, trained = advice(model("a", 44), model("b", 20), now=now).advice
    assert trained.longest == 131_072
    assert short.candidate.model.needed_bytes(short.longest) <= 48 * GIB
    assert short.candidate.model.needed_bytes(short.longest + 1) > 48 * GIB


def test_the_roofline_is_bandwidth_over_what_a_token_reads():
    [one] = advice(model("moe", 40, active_bytes=4 * GIB)).advice
    assert one.speed.read_bytes == 4 * GIB + 8192 * 2**17
    assert one.speed.roofline == pytest.approx(546e9 / one.speed.read_bytes)
    assert one.speed.expected == (pytest.approx(one.speed.roofline * 0.5), pytest.approx(one.speed.roofline * 0.9))


@pytest.mark.parametrize(
    ("chip", "cores", "known"),
    [
        ("Apple M1", 8, 68e9), ("Apple M3 Max", 30, 300e9), ("Apple M3 Ultra", 80, 819e9), ("Apple M4 Max", None, None),
        ("Apple M6", 12, None), ("Apple A18 Pro", 5, 60e9), ("AMD EPYC", None, None), (None, None, None),
    ],
)  # fmt: skip
def test_the_bandwidth_of_a_chip_is_known_or_it_is_not(chip, cores, known):
    found = bandwidth.apple(chip, cores)
    assert found.bytes_per_second == known
    assert found.why


def test_the_bandwidth_of_an_nvidia_gpu_is_what_its_driver_says():
    class Nvml:
        NVML_CLOCK_MEM = 2
        nvmlInit = nvmlShutdown = staticmethod(lambda: None)
        nvmlDeviceGetHandleByIndex = staticmethod(lambda index: index)
        nvmlDeviceGetMemoryBusWidth = staticmethod(lambda handle: 384)
        nvmlDeviceGetMaxClockInfo = staticmethod(lambda handle, clock: 10501)

    assert bandwidth._nvidia(Nvml).bytes_per_second == pytest.approx(1008.096e9)


def test_a_lone_candidate_gets_no_score():
    found = advice(model("a", 4), runs=[run("a", 50, [49, 51])])
    assert found.verdict.best == ()
    assert found.verdict.why == "not known: there is one candidate, and nothing to compare it with"


def test_two_measured_under_the_same_conditions_are_compared_by_their_intervals():
    models = (model("a", 4), model("b", 5), model("c", 6))
    clear = advice(*models, runs=[run("a", 50, [49, 51]), run("b", 40, [39, 41])])
    assert clear.verdict.best == ("a on ollama",)
    close = advice(*models, runs=[run("a", 50, [45, 55]), run("b", 48, [44, 52]), run("c", 30, [29, 31])])
    assert close.verdict.best == ("a on ollama", "b on ollama")
    assert "2 of them cannot be told apart" in close.verdict.why


def test_what_was_measured_under_other_conditions_or_on_a_busy_machine_is_not_compared():
    now = mac(cores=None)
    models = (model("a", 4), model("b", 5))
    for other in (
        {"concurrency": 8},
        {"max_tokens": 16},
        {"scenario": "long"},
        {"settings": '{"prompt_characters": 9}'},
    ):
        found = advice(*models, now=now, runs=[run("a", 50, [49, 51]), run("b", 40, [39, 41], **other)])
        assert found.verdict.best == ()
        assert found.verdict.why.startswith("not known: no two of them were measured under the same conditions")
    hot = advice(*models, now=now, runs=[run("a", 50), run("b", 40, problems=["thermal pressure was serious"])])
    assert hot.verdict.best == ()
    assert "not counted: thermal pressure was serious" in "\n".join(report.lines(hot))


def test_where_nothing_was_measured_only_speeds_that_are_clearly_apart_are_told_apart():
    assert advice(model("a", 4), model("b", 20)).verdict.best == ("a",)
    close = advice(model("a", 4), model("b", 5)).verdict
    assert close.best == ("a", "b")
    assert advice(model("a", 4), model("b", 20), use_case="efficiency").verdict.best == ()


def test_what_does_not_fit_is_not_recommended():
    found = advice(model("a", 100, active_bytes=GIB), model("b", 20), model("c", 30))
    assert found.verdict.best == ("b", "c")
    assert "does not fit" in "\n".join(report.lines(found))


def test_models_of_one_name_are_told_apart():
    twice = [Candidate("a", model("a", gib), engine) for gib, engine in ((4, "ollama"), (30, "llama_cpp"))]
    assert advise(twice, mac(), [], "throughput", 4096).verdict.best == ("a (ollama)",)


def test_for_a_long_context_it_is_the_one_that_fits_more():
    assert advice(model("a", 41), model("b", 20), use_case="long-context").verdict.best == ("b",)


def test_what_the_header_does_not_tell_is_not_known():
    found = advice(model("a", 4, kv_bytes_per_token=None))
    said = found.as_json()["candidates"][0]
    assert (said["memory"]["needed_bytes"], said["memory"]["fits"]) == (None, None)
    assert said["speed"]["roofline_tokens_per_second"] is None
    assert "whether it fits is not known" in "\n".join(report.lines(found))


def test_names_of_a_model_are_the_same_however_an_engine_writes_them():
    found = [run("org/Qwen3-8B-Q4_K_M.gguf", 1), run("qwen3-8b-q4_k_m", 2, engine="b"), run("qwen3-4b-q4_k_m", 3)]
    assert [one.value for one in measured.of("Qwen3-8B-Q4_K_M", None, found)] == [1, 2]
    assert [one.value for one in measured.of("qwen3:latest", None, [run("qwen3", 1)])] == [1]


def test_only_the_newest_run_of_the_same_conditions_counts():
    assert [one.run_id for one in measured.newest([run("a", 1, run_id="new"), run("a", 2, run_id="old")])] == ["new"]


def test_the_file_of_a_model_of_ollama_is_found_by_its_manifest(tmp_path):
    digest = "a" * 64
    manifest = tmp_path / "manifests/registry.ollama.ai/library/qwen3/8b"
    manifest.parent.mkdir(parents=True)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"}
    manifest.write_text(json.dumps({"layers": [{"mediaType": "x", "digest": "y"}, layer]}))
    assert ollama_file("qwen3:8b", tmp_path) is None
    blob = tmp_path / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir()
    blob.touch()
    assert ollama_file("qwen3:8b", tmp_path) == blob
    assert ollama_file("../../qwen3:8b", tmp_path) is None
    layer["digest"] = "sha256:../../../etc/passwd"
    manifest.write_text(json.dumps({"layers": [layer]}))
    assert ollama_file("qwen3:8b", tmp_path) is None


def test_what_a_server_was_started_with_is_its_model(tmp_path):
    (tmp_path / "m.gguf").touch()
    for words in (["llama-server", "-m", "m.gguf"], ["llama-server", f"--model={tmp_path}/m.gguf", "-c", "1"]):
        assert served_path(words, tmp_path, "alias") == tmp_path / "m.gguf"
    assert served_path(["llama-server", "-m"], tmp_path, "alias") is None
    assert served_path(["llama-server"], tmp_path, "m.gguf") == tmp_path / "m.gguf"
    assert served_path(["llama-server", "--model", "gone.gguf"], tmp_path, "m.gguf") is None


def test_the_command_shows_the_arithmetic_and_prints_json(tmp_path, capsys, monkeypatch):
    where = [f"--data-dir={tmp_path}", "--web.listen-address=127.0.0.1:1", f"--model={tiny_model()}"]
    common = ["tokwatt", "recommend", *where]
    monkeypatch.setattr("sys.argv", [*common, "--context=2048", "--no-collector.engines"])
    assert shell.run_app(cli.app, "tokwatt") == 0
    said = capsys.readouterr().out
    assert "MiB weights + 3 MiB KV cache of 2048 tokens + 8 MiB overhead = 14.9" in said
    assert "best for throughput: not known: there is one candidate" in said
    monkeypatch.setattr("sys.argv", [*common, "--use-case=latency", "--json", "--no-collector.engines"])
    assert shell.run_app(cli.app, "tokwatt") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["use_case"], found["best"]) == ("latency", [])
    assert found["candidates"][0]["memory"]["fits"] is True


@pytest.mark.parametrize("wrong", [["--use-case=fun"], ["--context=0"], ["--model=/nowhere.gguf"]])
def test_what_cannot_be_advised_on_is_one_line(tmp_path, capsys, monkeypatch, wrong):
    monkeypatch.setattr("sys.argv", ["tokwatt", "recommend", f"--data-dir={tmp_path}", *wrong])
    assert shell.run_app(cli.app, "tokwatt") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert wrong[0].partition("=")[0] in line
