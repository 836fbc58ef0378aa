"""`code`: functions to write, to explain and to mend."""

from __future__ import annotations

from tokwatt_bench.scenarios.base import Ask, Listed, asked

_SLOW = """\
def duplicates(rows):
    found = []
    for i in range(len(rows)):
        for j in range(len(rows)):
            if i != j and rows[i]["mail"].lower() == rows[j]["mail"].lower():
                if rows[i] not in found:
                    found.append(rows[i])
    return found
"""
_BROKEN = """\
import threading

class Counter:
    def __init__(self):
        self.values = {}
        self.lock = threading.Lock()

    def add(self, name, amount=1):
        with self.lock:
            old = self.values.get(name, 0)
        self.values[name] = old + amount

    def total(self):
        with self.lock:
            return sum(v for v in self.values if v)
"""
_QUERY = """\
CREATE TABLE reading (meter_id INTEGER, taken_at TIMESTAMP, kwh DOUBLE PRECISION);
CREATE TABLE meter (id INTEGER PRIMARY KEY, house TEXT, installed DATE);
"""
_GO = """\
func fetchAll(urls []string) map[string]int {
	sizes := map[string]int{}
	for _, url := range urls {
		go func() {
			resp, err := http.Get(url)
			if err != nil {
				return
			}
			body, _ := io.ReadAll(resp.Body)
			sizes[url] = len(body)
		}()
	}
	return sizes
}
"""
_RUST = """\
fn longest(lines: &Vec<String>) -> String {
    let mut best = String::new();
    for line in lines.clone() {
        if line.trim().len() > best.len() {
            best = line.trim().to_string();
        }
    }
    return best;
}
"""
_TYPESCRIPT = """\
export async function retry(fn, times) {
  for (let i = 0; i < times; i++) {
    try { return fn(); } catch (e) { console.log(e); }
  }
}
"""

_TASKS = (
    ("write", "Write a Python function `merge(intervals)` that joins overlapping intervals given as pairs of numbers. "
              "Say what it does with empty and touching ones, and add five tests with pytest."),
    ("write", "Write a Python class for a cache that keeps the N items used last, with get and put in constant time, "
              "without using OrderedDict or functools. Explain the invariant that it keeps."),
    ("write", "Write a POSIX shell script that renames all photos in a folder to the date they were taken, never "
              "overwrites a file, and says what it would do with --dry-run."),
    ("write", "Write a JavaScript function that parses a CSV line with quoted fields and doubled quotes into an array, "
              "without a library, and show how it behaves on three difficult lines."),
    ("speed", f"This function takes minutes for 50,000 rows. Make it fast without changing its result:\n\n{_SLOW}"),
    ("mend", f"Find all mistakes in this class, explain what each does at run time, and correct them:\n\n{_BROKEN}"),
    ("mend", f"Why does this Go function return an empty map? Rewrite it with a limit of eight at a time:\n\n{_GO}"),
    ("mend", f"This helper does not retry. Say why, type it fully, and let it wait longer each time:\n\n{_TYPESCRIPT}"),
    ("review", f"Review this Rust function as for a pull request, and give the version you would merge:\n\n{_RUST}"),
    ("query", "Given these tables, write one SQL query for the use of each house in each month, although meters are "
              f"read on any day and are replaced now and then. Explain how gaps are treated.\n\n{_QUERY}"),
    ("explain", "Explain how a B-tree splits a page, with a drawing in text, and why databases prefer it to a binary "
                "search tree on disk."),
    ("explain", "Explain step by step what happens from pressing Enter after `ls | head -1` to the prompt's return: "
                "processes, pipes, signals."),
)  # fmt: skip


class Code(Listed):
    """Answers with little variety and much structure: drafts of a speculating engine fit well here."""

    name = "code"
    description = "functions to write, to mend, to review and to explain, in several languages"
    listed = tuple(Ask(asked(text), name=name) for name, text in _TASKS)
