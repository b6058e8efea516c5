"""Prometheus' text format 0.0.4, read strictly: what a scraper forgives fails here."""
import math
import re
import shutil
import subprocess

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?(?:0|[1-9]\d*)(?:\.\d*[1-9])?)")
HELP = re.compile(rf"# HELP ({NAME}) ((?:[^\\\n]|\\[\\n])+)")
TYPE = re.compile(rf"# TYPE ({NAME}) (counter|gauge|histogram)")
PARTS = ("_bucket", "_sum", "_count")


def family_of(name, kind):
    return next((name[:-len(part)] for part in PARTS if name.endswith(part)), None) if kind == "histogram" else name


def read(text):
    """{(name, labels): value} of a whole page; labels is a tuple of pairs, in their order. And {name: type}."""
    assert text.endswith("\n") and "\r" not in text
    lines, samples, types, i = text[:-1].split("\n"), {}, {}, 0
    while i < len(lines):
        family, kind = HELP.fullmatch(lines[i]), TYPE.fullmatch(lines[i + 1])
        assert family and kind and family[1] == kind[1], lines[i:i + 2]
        name, kind, i, begun = family[1], kind[2], i + 2, len(samples)
        assert name not in types, f"{name} stands twice"
        types[name] = kind
        while i < len(lines) and not lines[i].startswith("#"):
            sample = SAMPLE.fullmatch(lines[i])
            assert sample and family_of(sample[1], kind) == name, lines[i]
            labels = tuple(tuple(pair.split("=", 1)) for pair in re.findall(LABEL, sample[2] or ""))
            assert len(dict(labels)) == len(labels) and (sample[1], labels) not in samples, lines[i]
            samples[sample[1], labels] = float(sample[3])
            i += 1
        assert len(samples) > begun, f"{name} has no sample"
        check_names(name, kind, [labels for (sample, labels) in samples if family_of(sample, kind) == name])
    for name in (name for name, kind in types.items() if kind == "histogram"):
        check_histogram(name, samples)
    assert all(value >= 0 for (name, _), value in samples.items() if types.get(name) != "gauge")
    return samples, types


def check_names(name, kind, all_labels):
    assert name.endswith("_total") == (kind == "counter"), name
    assert name.endswith("_seconds") == (kind == "histogram") and not name.endswith(PARTS), name
    assert not re.search(r"_(milli|micro|nano)?(ms|us|seconds_total)$|__|[A-Z:]", name), name
    kinds = {tuple(label for label, _ in labels if label != "le") for labels in all_labels}
    assert len(kinds) == 1 and (kind == "histogram" or "le" not in dict(all_labels[0])), (name, kinds)


def check_histogram(name, samples):
    series = {}
    for (sample, labels), value in samples.items():
        if sample == f"{name}_bucket":
            assert labels[-1][0] == "le", labels
            series.setdefault(labels[:-1], []).append((math.inf if labels[-1][1] == '"+Inf"' else float(labels[-1][1].strip('"')), value))
    for part in ("_sum", "_count"):
        assert {labels for sample, labels in samples if sample == name + part} == set(series), name
    for labels, buckets in series.items():
        assert [bound for bound, _ in buckets] == sorted({bound for bound, _ in buckets}) and buckets[-1][0] == math.inf, (name, labels)
        assert [count for _, count in buckets] == sorted(count for _, count in buckets), (name, labels)
        assert buckets[-1][1] == samples[f"{name}_count", labels], (name, labels)


def check_growth(before, after):
    """What counts never falls, and is never gone, from one page to the next of the same process."""
    samples, types = before
    for (name, labels), value in samples.items():
        if types.get(name) != "gauge":
            assert after[0].get((name, labels), -1) >= value, (name, labels)


def check_by_promtool(text):
    """By Prometheus' own tool too, where it is installed."""
    tool = shutil.which("promtool")
    if tool is not None:
        done = subprocess.run([tool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def value_of(samples, name, **labels):
    return samples.get((name, tuple((label, f'"{value}"') for label, value in labels.items())))
