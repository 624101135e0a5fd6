local addresses, threads = {}, 0

-- Lets the threads connect to several addresses in turn: "ADDRESS PORT,ADDRESS PORT" in the environment.
function setup(thread)
  if threads == 0 then
    for address, port in string.gmatch(os.getenv("XOFFLOAD_WRK_ADDRESSES") or "", "(%S+) (%d+),?") do
      addresses[#addresses + 1] = wrk.lookup(address, port)[1]
    end
  end
  if #addresses > 0 then thread.addr = addresses[threads % #addresses + 1] end
  threads = threads + 1
end

-- Prints what wrk measured as one line of JSON: exact numbers, where wrk's own summary is rounded.
function done(summary, latency)
  local fields = {
    requests = summary.requests,
    bytes = summary.bytes,
    duration = summary.duration,
    p50 = latency:percentile(50),
    p90 = latency:percentile(90),
    p99 = latency:percentile(99),
    max = latency.max,
    connectErrors = summary.errors.connect,
    readErrors = summary.errors.read,
    writeErrors = summary.errors.write,
    timeouts = summary.errors.timeout,
    non2xx = summary.errors.status,
  }
  local parts = {}
  for name, value in pairs(fields) do
    parts[#parts + 1] = string.format('"%s":%.0f', name, value)
  end
  io.write("{" .. table.concat(parts, ",") .. "}\n")
end
