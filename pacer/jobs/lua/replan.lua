-- Notes that a running job goes on by another plan; a worker with an old fence changes nothing.
-- ARGV: id, fence, spec, plan, total, work
-- Reply: 1 when it is noted, 0 when the worker is fenced out, or the job has ended.

local id, fence, spec, plan, total, work = unpack(ARGV)
local job = JOB .. id
local state, held, step = unpack(redis.call('HMGET', job, 'state', 'fence', 'step'))

if held ~= fence or state ~= 'running' then return 0 end

redis.call('HSET', job, 'spec', spec, 'plan', plan, 'total', total, 'work', work)
set_left(id, math.floor(work * math.max(0, total - step) / total))
return 1
