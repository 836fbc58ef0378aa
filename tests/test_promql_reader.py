"""The reader of expressions, by which boards and rules are checked."""

from support.promql_reader import Selector, read


def test_selectors_come_with_matchers_window_and_function():
    found = read('sum by (job) (rate(x_total{job=~"$job", state!="a,b}"}[$__rate_interval])) / up > 50e6')
    assert found.selectors == [
        Selector("x_total", {"job": '=~"$job"', "state": '!="a,b}"'}, "[$__rate_interval]", "rate"),
        Selector("up", {}, "", ""),
    ]
    assert found.grouping == {"job"}


def test_words_of_the_language_are_no_metrics():
    found = read("a or on (x, y) NaN * b unless ignoring (z) c offset 1h and time() - d * on() group_left(w) e")
    assert [selector.metric for selector in found.selectors] == ["a", "b", "c", "d", "e"]
    assert found.grouping == {"x", "y", "z", "w"}


def test_both_places_of_a_grouping_are_read():
    assert read("sum by (a) (x)") == read("sum(x) by (a)")._replace(selectors=[Selector("x", {}, "", "")])
