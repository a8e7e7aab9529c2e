-- Says for a worker that it lives, extends the leases of the jobs that it holds, and notes their steps.
-- ARGV: worker, lease_ms, then of each job: id, fence, step
-- Reply: of each job 'ok', 'cancelled' or 'fenced'.

local worker, lease_ms = ARGV[1], tonumber(ARGV[2])
local verdicts = {}

local function beat(id, fence, step)
  local job = JOB .. id
  local state, held, known, total, work = unpack(redis.call('HMGET', job, 'state', 'fence', 'step', 'total', 'work'))
  if held ~= fence then return 'fenced' end
  if state == 'cancelled' then return 'cancelled' end
  -- A beat may cross with the worker's own finish.
  if state == 'completed' then return 'ok' end
  if state ~= 'running' then return 'fenced' end
  redis.call('ZADD', LEASE, NOW + lease_ms, id)
  if tonumber(step) > tonumber(known) then
    redis.call('HSET', job, 'step', step)
    if work then set_left(id, math.floor(work * (total - step) / total)) end
    event(id, 'step', step, total)
  end
  return 'ok'
end

for first = 3, #ARGV, 3 do
  verdicts[#verdicts + 1] = beat(ARGV[first], ARGV[first + 1], ARGV[first + 2])
end
redis.call('ZADD', WORKERS, NOW + lease_ms, worker)
return verdicts
