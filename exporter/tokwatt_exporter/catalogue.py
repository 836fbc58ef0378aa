"""Every metric, once. `/metrics`, OTLP, the history, `docs/metrics.md` and the dashboards are derived from this file.

A constant called with a value and its labels is a `Reading`; nothing else in the project spells a metric's name.
"""

from __future__ import annotations

from typing import TypeVar

from tokwatt_exporter.families import Counter as Counter
from tokwatt_exporter.families import Family as Family
from tokwatt_exporter.families import Gauge as Gauge
from tokwatt_exporter.families import Histogram as Histogram
from tokwatt_exporter.families import Info as Info
from tokwatt_exporter.families import Kind as Kind
from tokwatt_exporter.families import Part as Part
from tokwatt_exporter.families import States as States

F = TypeVar("F", bound="Family")

#: Families by name, in the order of this file.
CATALOGUE: dict[str, Family] = {}

#: What has series of its own, by name: the families, and instead of a histogram its parts.
SERIES: dict[str, Family] = {}

PREFIX = "tokwatt_"

#: How many models of one engine get series of their own; further ones are counted in SAMPLES_DROPPED.
MODELS_PER_ENGINE = 64


def _add(family: F) -> F:
    if family.name in CATALOGUE:
        raise ValueError(f"{family.name} is in the catalogue twice")
    CATALOGUE[family.name] = family
    SERIES.update({part.name: part for part in (family.parts if isinstance(family, Histogram) else (family,))})
    return family


# One line a metric: the table is read, and changed, as a table.
# fmt: off

# Identity and the exporter itself
BUILD_INFO = _add(Info(PREFIX + "build_info", "", "Build of the exporter.", ("version", "revision", "python_version"), "resource service.version"))
DEMO_INFO = _add(Info(PREFIX + "demo_info", "", "Nothing here is measured: the exporter plays a machine that does not exist.", ("machine",), None))
HOST_INFO = _add(Info(PREFIX + "host_info", "", "Identity of the monitored host.", ("os", "os_version", "arch", "chip", "machine_model"), "resource host.*, os.*"))
DEVICE_INFO = _add(Info(PREFIX + "device_info", "", "Identity of a device; join on device.", ("device", "kind", "vendor", "model", "driver_version", "cores"), "hw.* attributes"))
COLLECTOR_SUCCESS = _add(Gauge(PREFIX + "collector_success", "", "1 if the collector's latest run succeeded, 0 if it failed.", ("collector",), None))
COLLECTOR_DURATION = _add(Gauge(PREFIX + "collector_duration_seconds", "s", "How long the collector's latest run took.", ("collector",), None))
COLLECTOR_LAST_SUCCESS = _add(Gauge(PREFIX + "collector_last_success_timestamp_seconds", "s", "Unix time of the collector's latest success.", ("collector",), None))
COLLECTOR_FAILURES = _add(Counter(PREFIX + "collector_failures_total", "{failure}", "Runs of the collector that raised or timed out.", ("collector",), None, ours=True))
COLLECTOR_PROBLEM = _add(Info(PREFIX + "collector_problem_info", "", "Why a collector has no readings now: not_available, failed or timed_out.", ("collector", "problem", "reason"), None))
SAMPLE_INTERVAL = _add(Gauge(PREFIX + "sample_interval_seconds", "s", "Configured sampling interval.", (), None))
SAMPLES_DROPPED = _add(Counter(PREFIX + "samples_dropped_total", "{sample}", "Samples refused: non_finite, label_limit, buffer_full.", ("reason",), None, ours=True))
LOG_MESSAGES = _add(Counter(PREFIX + "log_messages_total", "{message}", "Log lines emitted, by level.", ("level",), None, ours=True))
STORE_ROWS_WRITTEN = _add(Counter(PREFIX + "store_rows_written_total", "{row}", "Rows committed to DuckDB.", (), None, ours=True))
STORE_FAILURES = _add(Counter(PREFIX + "store_failures_total", "{failure}", "Flushes that failed, for a lock or a full disk; their rows wait in the journal.", (), None, ours=True))
STORE_BUFFERED_ROWS = _add(Gauge(PREFIX + "store_buffered_rows", "{row}", "Rows sampled but not yet committed.", (), None))
STORE_LAST_FLUSH = _add(Gauge(PREFIX + "store_last_flush_timestamp_seconds", "s", "Unix time of the last commit.", (), None))
STORE_SIZE = _add(Gauge(PREFIX + "store_size_bytes", "By", "Size of the DuckDB file and its WAL.", (), None))
STORE_DAMAGED = _add(Gauge(PREFIX + "store_damaged_timestamp_seconds", "s", "When a damaged history was moved aside, which is there still and no longer asked, Unix time.", (), None))
STORE_EXPORT_FAILURES = _add(Counter(PREFIX + "store_export_failures_total", "{failure}", "Scheduled exports of the history that failed, to one target or more; the next one goes on.", (), None, ours=True))
STORE_LAST_EXPORT = _add(Gauge(PREFIX + "store_last_export_timestamp_seconds", "s", "Unix time of the last scheduled export of the history that succeeded.", (), None))
OTLP_EXPORTS = _add(Counter(PREFIX + "otlp_exports_total", "{export}", "OTLP requests attempted.", (), "otel.sdk.exporter.*", ours=True))
OTLP_EXPORT_FAILURES = _add(Counter(PREFIX + "otlp_export_failures_total", "{export}", "OTLP requests that failed.", (), "otel.sdk.exporter.*", ours=True))
OTLP_ACKNOWLEDGED = _add(Gauge(PREFIX + "otlp_acknowledged_timestamp_seconds", "s", "Time of the newest sample the OTLP receiver has accepted.", (), None))
HTTP_REJECTED = _add(Counter(PREFIX + "http_connections_rejected_total", "{connection}", "Connections refused: limit, timeout, host, auth.", ("reason",), None, ours=True))
PROCESS_CPU = _add(Counter("process_cpu_seconds_total", "s", "CPU time of the exporter process.", (), "process.cpu.time"))
PROCESS_RESIDENT_MEMORY = _add(Gauge("process_resident_memory_bytes", "By", "Resident memory of the exporter process.", (), "process.memory.usage"))
PROCESS_OPEN_FDS = _add(Gauge("process_open_fds", "{file_descriptor}", "Open file descriptors of the exporter process.", (), "process.unix.file_descriptor.count"))
PROCESS_START_TIME = _add(Gauge("process_start_time_seconds", "s", "Start of the exporter process, Unix time.", (), None))

# Power and energy
ENERGY = _add(Counter(PREFIX + "device_energy_joules_total", "J", "Energy used by the device since the exporter started; rate() is watts.", ("device",), "hw.energy", ours=True))
POWER = _add(Gauge(PREFIX + "device_power_watts", "W", "Mean power over the last sampling interval; the energy counter misses nothing.", ("device",), "hw.power"))
PACKAGE_ENERGY = _add(Counter(PREFIX + "package_energy_joules_total", "J", "Energy of the whole SoC or CPU package, including parts not listed per device.", (), None, ours=True))
SYSTEM_ENERGY = _add(Counter(PREFIX + "system_energy_joules_total", "J", "Energy of the whole machine since the exporter started.", (), "hw.host.energy", ours=True))
SYSTEM_POWER = _add(Gauge(PREFIX + "system_power_watts", "W", "Mean power drawn by the whole machine over the last sampling interval.", (), "hw.host.power"))
POWER_LIMIT = _add(Gauge(PREFIX + "device_power_limit_watts", "W", "Enforced power limit.", ("device",), None))
BATTERY_CHARGE = _add(Gauge(PREFIX + "battery_charge_ratio", "1", "Battery charge, 0 to 1.", (), "hw.battery.charge"))
BATTERY_HEALTH = _add(Gauge(PREFIX + "battery_health_ratio", "1", "What a full battery holds, as a share of what it was designed for.", (), None))
BATTERY_CYCLES = _add(Gauge(PREFIX + "battery_cycles", "{cycle}", "Charge cycles the battery has been through.", (), None))
BATTERY_POWER = _add(Gauge(PREFIX + "battery_power_watts", "W", "Power into the battery now; negative while it drives the machine.", (), None))
ADAPTER_POWER = _add(Gauge(PREFIX + "adapter_power_limit_watts", "W", "What the attached power adapter can give.", (), None))
POWER_SOURCE = _add(States(PREFIX + "power_source_state", "Where the power comes from: ac or battery.", ("ac", "battery")))
POWER_MODE = _add(States(PREFIX + "power_mode_state", "Power mode of the OS: low, automatic or high.", ("low", "automatic", "high")))

# Utilisation and frequency
GPU_BUSY = _add(Counter(PREFIX + "gpu_busy_seconds_total", "s", "Time the GPU was active; rate() is utilisation over any window.", ("device",), None, ours=True))
GPU_UTILIZATION = _add(Gauge(PREFIX + "gpu_utilization_ratio", "1", "Active share of the last sampling interval.", ("device",), "hw.gpu.utilization"))
GPU_FREQUENCY = _add(Gauge(PREFIX + "gpu_frequency_hertz", "Hz", "GPU clock now, or its mean while active over the last interval.", ("device",), None))
GPU_FREQUENCY_MAX = _add(Gauge(PREFIX + "gpu_frequency_max_hertz", "Hz", "Highest GPU clock.", ("device",), None))
GPU_DRIVER_UTILIZATION = _add(Gauge(PREFIX + "gpu_driver_utilization_ratio", "1", "Share busy as the GPU driver averages it, by kind: device, renderer, tiler.", ("device", "kind"), None))
GPU_RECOVERIES = _add(Counter(PREFIX + "gpu_recoveries_total", "{recovery}", "Times the driver had to restart a GPU that hung.", ("device",), None))
CPU_BUSY = _add(Counter(PREFIX + "cpu_busy_seconds_total", "s", "Core-seconds spent not idle, summed over the cluster.", ("cluster",), "system.cpu.time"))
CPU_CORES = _add(Gauge(PREFIX + "cpu_cores", "{cpu}", "Online cores; divide rate(busy) by this.", ("cluster",), "system.cpu.logical.count"))
CPU_FREQUENCY = _add(Gauge(PREFIX + "cpu_frequency_hertz", "Hz", "Mean clock of the cluster's cores.", ("cluster",), "hw.cpu.speed"))
CPU_FREQUENCY_MAX = _add(Gauge(PREFIX + "cpu_frequency_max_hertz", "Hz", "Highest clock of the cluster's cores.", ("cluster",), "hw.cpu.speed.limit"))

# Temperature, fans, throttling
TEMPERATURE = _add(Gauge(PREFIX + "temperature_celsius", "Cel", "Temperature of one sensor.", ("device", "sensor"), "hw.temperature"))
TEMPERATURE_SENSORS = _add(Gauge(PREFIX + "temperature_sensors", "{sensor}", "Sensors of the device whose readings are behind its hottest and mean temperature.", ("device",), None))
THERMAL_STATE = _add(States(PREFIX + "thermal_state", "Thermal pressure as the OS sees it: nominal, fair, serious or critical.", ("nominal", "fair", "serious", "critical")))
TEMPERATURE_LIMIT = _add(Gauge(PREFIX + "temperature_limit_celsius", "Cel", "Temperature at which the device slows down, by the sensor that is watched.", ("device", "sensor"), "hw.temperature.limit"))
THROTTLED = _add(Counter(PREFIX + "throttled_seconds_total", "s", "Time spent throttled: thermal, power, other.", ("device", "reason"), None, ours=True))
FAN_SPEED = _add(Gauge(PREFIX + "fan_speed_rpm", "rpm", "Fan speed.", ("fan",), "hw.fan.speed"))
FAN_SPEED_MAX = _add(Gauge(PREFIX + "fan_speed_max_rpm", "rpm", "Highest fan speed.", ("fan",), "hw.fan.speed.limit"))

# Memory
MEMORY_SIZE = _add(Gauge(PREFIX + "memory_size_bytes", "By", "Physical memory.", (), "system.memory.limit"))
MEMORY_AVAILABLE = _add(Gauge(PREFIX + "memory_available_bytes", "By", "Memory that can be handed out without swapping.", (), "system.memory.linux.available"))
MEMORY_USED = _add(Gauge(PREFIX + "memory_used_bytes", "By", "Used memory by disjoint kind: app, wired, compressed; anon, kernel, shmem, hugepages.", ("kind",), "system.memory.usage"))
MEMORY_CACHED = _add(Gauge(PREFIX + "memory_cached_bytes", "By", "Memory that holds files and can be dropped.", (), None))
MEMORY_COMPRESSED = _add(Gauge(PREFIX + "memory_compressor_stored_bytes", "By", "Size before compression of what the memory compressor holds.", (), None))
MEMORY_PRESSURE = _add(States(PREFIX + "memory_pressure_state", "Memory pressure as the OS sees it: normal, warn or critical.", ("normal", "warn", "critical")))
MEMORY_STALLED = _add(Counter(PREFIX + "memory_stalled_seconds_total", "s", "Time tasks stood still for memory: some or all of them (Linux PSI).", ("scope",), None))
SWAP_SIZE = _add(Gauge(PREFIX + "swap_size_bytes", "By", "Swap space.", (), None))
SWAP_USED = _add(Gauge(PREFIX + "swap_used_bytes", "By", "Swap in use.", (), "system.paging.usage"))
SWAP_IN = _add(Counter(PREFIX + "swap_in_bytes_total", "By", "Bytes read back from swap.", (), None))
SWAP_OUT = _add(Counter(PREFIX + "swap_out_bytes_total", "By", "Bytes written to swap.", (), None))
GPU_MEMORY_SIZE = _add(Gauge(PREFIX + "gpu_memory_size_bytes", "By", "Memory the GPU may use (on Apple silicon the recommended working set).", ("device",), "hw.gpu.memory.limit"))
GPU_MEMORY_USED = _add(Gauge(PREFIX + "gpu_memory_used_bytes", "By", "Memory in use by the GPU.", ("device",), "hw.gpu.memory.usage"))
GPU_MEMORY_ALLOCATED = _add(Gauge(PREFIX + "gpu_memory_allocated_bytes", "By", "Memory allocated through the GPU driver; may be more than the machine has.", ("device",), None))
DRAM_READ = _add(Counter(PREFIX + "dram_read_bytes_total", "By", "Bytes read from memory, on chips that count them.", (), None, ours=True))
DRAM_WRITTEN = _add(Counter(PREFIX + "dram_written_bytes_total", "By", "Bytes written to memory, on chips that count them.", (), None, ours=True))

# Disks and network
DISK_READ = _add(Counter(PREFIX + "disk_read_bytes_total", "By", "Bytes read from the disk.", ("device",), "system.disk.io"))
DISK_WRITTEN = _add(Counter(PREFIX + "disk_written_bytes_total", "By", "Bytes written to the disk.", ("device",), "system.disk.io"))
NETWORK_RECEIVED = _add(Counter(PREFIX + "network_received_bytes_total", "By", "Bytes received on the interface.", ("device",), "system.network.io"))
NETWORK_SENT = _add(Counter(PREFIX + "network_sent_bytes_total", "By", "Bytes sent on the interface.", ("device",), "system.network.io"))

# Engines and models
ENGINE_UP = _add(Gauge(PREFIX + "engine_up", "", "1 if the last probe of the engine succeeded.", ("engine",), None))
ENGINE_INFO = _add(Info(PREFIX + "engine_info", "", "Identity of an engine.", ("engine", "kind", "version"), "gen_ai.provider.name"))
ENGINE_PROBLEM = _add(Info(PREFIX + "engine_problem_info", "", "Why an engine, or a part of what it could tell, is missing now.", ("engine", "reason"), None))
ENGINE_PROBE_DURATION = _add(Gauge(PREFIX + "engine_probe_duration_seconds", "s", "How long the last probe of the engine took.", ("engine",), None ))
ENGINE_MODELS_LOADED = _add(Gauge(PREFIX + "engine_models_loaded", "{model}", "Models in memory.", ("engine",), None))
MODEL_INFO = _add(Info(PREFIX + "model_info", "", "A loaded model; absent when unloaded.", ("engine", "model", "quantization", "format"), "gen_ai.request.model"))
MODEL_MEMORY = _add(Gauge(PREFIX + "model_memory_bytes", "By", "Memory the engine says the model takes.", ("engine", "model"), None))
MODEL_GPU_MEMORY = _add(Gauge(PREFIX + "model_gpu_memory_bytes", "By", "GPU memory the engine says the model takes.", ("engine", "model"), None))
MODEL_CONTEXT = _add(Gauge(PREFIX + "model_context_tokens", "{token}", "Allocated context length.", ("engine", "model"), None))
MODEL_EXPIRES = _add(Gauge(PREFIX + "model_expires_timestamp_seconds", "s", "When the engine will unload the model, Unix time.", ("engine", "model"), None))
REQUESTS_RUNNING = _add(Gauge(PREFIX + "engine_requests_running", "{request}", "Requests being processed.", ("engine", "model"), None))
REQUESTS_WAITING = _add(Gauge(PREFIX + "engine_requests_waiting", "{request}", "Requests queued.", ("engine", "model"), None))
REQUESTS = _add(Counter(PREFIX + "engine_requests_total", "{request}", "Requests finished, including failed.", ("engine", "model"), None))
REQUESTS_FAILED = _add(Counter(PREFIX + "engine_requests_failed_total", "{request}", "Requests that failed.", ("engine", "model"), None))
KV_CACHE_USAGE = _add(Gauge(PREFIX + "engine_kv_cache_usage_ratio", "1", "Used share of the KV cache.", ("engine", "model"), None))
PREFIX_CACHE_QUERIES = _add(Counter(PREFIX + "engine_prefix_cache_queries_total", "{token}", "Prompt tokens looked up in the prefix cache.", ("engine", "model"), None))
PREFIX_CACHE_HITS = _add(Counter(PREFIX + "engine_prefix_cache_hits_total", "{token}", "Prompt tokens found in the prefix cache.", ("engine", "model"), None))
PROMPT_TOKENS = _add(Counter(PREFIX + "engine_prompt_tokens_total", "{token}", "Prompt tokens processed, without those found in the cache where the engine tells them apart.", ("engine", "model"), None))
GENERATION_TOKENS = _add(Counter(PREFIX + "engine_generation_tokens_total", "{token}", "Tokens generated.", ("engine", "model"), None))
PROMPT_SECONDS = _add(Counter(PREFIX + "engine_prompt_seconds_total", "s", "Time spent on prompts; prompt tokens over this is prefill speed.", ("engine", "model"), None))
GENERATION_SECONDS = _add(Counter(PREFIX + "engine_generation_seconds_total", "s", "Time spent generating; tokens over this is decode speed while busy.", ("engine", "model"), None))
TIME_TO_FIRST_TOKEN = _add(Histogram(PREFIX + "engine_time_to_first_token_seconds", "s", "Time to first token, as the engine measures it.", ("engine", "model"), "gen_ai.server.time_to_first_token"))
INTER_TOKEN_LATENCY = _add(Histogram(PREFIX + "engine_inter_token_latency_seconds", "s", "Time between two tokens, as the engine measures it.", ("engine", "model"), "gen_ai.server.time_per_output_token"))
REQUEST_DURATION = _add(Histogram(PREFIX + "engine_request_duration_seconds", "s", "Whole requests, as the engine measures them.", ("engine", "model"), "gen_ai.server.request.duration"))
PREEMPTIONS = _add(Counter(PREFIX + "engine_preemptions_total", "{preemption}", "Requests pushed back for lack of KV cache.", ("engine", "model"), None))
ENGINE_PROCESSES = _add(Gauge(PREFIX + "engine_processes", "{process}", "Processes attributed to the engine.", ("engine",), None))
ENGINE_PROCESS_CPU = _add(Counter(PREFIX + "engine_process_cpu_seconds_total", "s", "CPU time of the engine's processes.", ("engine",), "process.cpu.time"))
ENGINE_PROCESS_MEMORY = _add(Gauge(PREFIX + "engine_process_resident_memory_bytes", "By", "Resident memory of the engine's processes.", ("engine",), "process.memory.usage"))
ENGINE_PROCESS_GPU_MEMORY = _add(Gauge(PREFIX + "engine_process_gpu_memory_bytes", "By", "GPU memory of the engine's processes, as the driver reports it.", ("engine", "device"), None))
ENGINE_PROCESS_FOOTPRINT = _add(Gauge(PREFIX + "engine_process_footprint_bytes", "By", "Memory that ends with the engine's processes, GPU memory included and mapped files not.", ("engine",), None))
ENGINE_PROCESS_NEURAL = _add(Gauge(PREFIX + "engine_process_neural_memory_bytes", "By", "Neural Engine memory of the engine's processes.", ("engine",), None))
ENGINE_PROCESS_ENERGY = _add(Counter(PREFIX + "engine_process_energy_joules_total", "J", "CPU energy of the engine's processes; that of GPU and Neural Engine is not in it.", ("engine",), None, ours=True))
ENGINE_PROCESS_GPU_SECONDS = _add(Counter(PREFIX + "engine_process_gpu_seconds_total", "s", "GPU time of the engine's processes.", ("engine",), None, ours=True))

# Requests seen by tokwatt proxy
PROXY_CONNECTIONS = _add(Gauge(PREFIX + "proxy_connections", "{connection}", "Open connections of clients; absent where no proxy runs.", ("engine",), None))
PROXY_REQUESTS = _add(Counter(PREFIX + "proxy_requests_total", "{request}", "Requests for text that passed the proxy, by how they ended.", ("engine", "model", "status"), None))
PROXY_PROMPT_TOKENS = _add(Counter(PREFIX + "proxy_prompt_tokens_total", "{token}", "Prompt tokens as the engine counted them in its answers, cached ones included.", ("engine", "model"), None))
PROXY_CACHED_PROMPT_TOKENS = _add(Counter(PREFIX + "proxy_cached_prompt_tokens_total", "{token}", "Prompt tokens that the engine found in its cache, where it says so.", ("engine", "model"), None))
PROXY_GENERATION_TOKENS = _add(Counter(PREFIX + "proxy_generation_tokens_total", "{token}", "Generated tokens as the engine counted them in its answers.", ("engine", "model"), None))
PROXY_TIME_TO_FIRST_TOKEN = _add(Histogram(PREFIX + "proxy_time_to_first_token_seconds", "s", "From the whole request to the first token of a streamed answer.", ("engine", "model"), "gen_ai.client.operation.time_to_first_chunk"))
PROXY_INTER_TOKEN_LATENCY = _add(Histogram(PREFIX + "proxy_inter_token_latency_seconds", "s", "Time between two tokens of a streamed answer.", ("engine", "model"), "gen_ai.client.operation.time_per_output_chunk"))
PROXY_REQUEST_DURATION = _add(Histogram(PREFIX + "proxy_request_duration_seconds", "s", "From the whole request to the last byte of the answer.", ("engine", "model", "status"), "gen_ai.client.operation.duration"))
PROXY_UNOBSERVED = _add(Counter(PREFIX + "proxy_unobserved_total", "{request}", "Requests that passed and are not, or not wholly, in the figures, by reason.", ("engine", "reason"), None))

# Benchmark results (latest per series; history is in DuckDB)
BENCHMARK_RUNNING = _add(Gauge(PREFIX + "benchmark_running", "", "1 while a benchmark is running; load on the graphs is synthetic.", (), None ))
BENCHMARK_LAST_RUN = _add(Gauge(PREFIX + "benchmark_last_run_timestamp_seconds", "s", "When the latest run finished, Unix time.", ("engine", "model", "scenario"), None))
BENCHMARK_RUNS = _add(Counter(PREFIX + "benchmark_runs_total", "{run}", "Runs finished, including failed.", ("engine", "model", "scenario"), None))
BENCHMARK_RUNS_FAILED = _add(Counter(PREFIX + "benchmark_runs_failed_total", "{run}", "Runs in which every request failed.", ("engine", "model", "scenario"), None))
BENCHMARK_GENERATION_SPEED = _add(Gauge(PREFIX + "benchmark_generation_tokens_per_second", "", "Median decode speed of the latest run.", ("engine", "model", "scenario"), None))
BENCHMARK_PROMPT_SPEED = _add(Gauge(PREFIX + "benchmark_prompt_tokens_per_second", "", "Median prefill speed of the latest run, cached tokens left out.", ("engine", "model", "scenario"), None))
BENCHMARK_TTFT_MEDIAN = _add(Gauge(PREFIX + "benchmark_time_to_first_token_median_seconds", "s", "Median client-side time to first token of the latest run.", ("engine", "model", "scenario"), "gen_ai.client.operation.time_to_first_chunk"))
BENCHMARK_TTFT_P95 = _add(Gauge(PREFIX + "benchmark_time_to_first_token_p95_seconds", "s", "95th percentile of client-side time to first token of the latest run.", ("engine", "model", "scenario"), "gen_ai.client.operation.time_to_first_chunk"))
BENCHMARK_ENERGY_PER_TOKEN = _add(Gauge(PREFIX + "benchmark_energy_per_token_joules", "J", "Energy per generated token, idle subtracted.", ("engine", "model", "scenario"), None))
BENCHMARK_PEAK_MEMORY = _add(Gauge(PREFIX + "benchmark_peak_memory_bytes", "By", "Highest engine memory during the run.", ("engine", "model", "scenario"), None))

# fmt: on
