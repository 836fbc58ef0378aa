"""Results for readers: the terminal here, and in modules of their own the files that `tokwatt-bench report` writes."""

from tokwatt_bench.report.terminal import history_csv as history_csv
from tokwatt_bench.report.terminal import history_table as history_table
from tokwatt_bench.report.terminal import print_line as print_line
from tokwatt_bench.report.terminal import progress as progress
from tokwatt_bench.report.terminal import requests_csv as requests_csv
from tokwatt_bench.report.terminal import result_table as result_table
