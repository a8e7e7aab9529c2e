-- Ends a job that waits or runs, for its caller. Its worker is told at its next beat. Again changes nothing.
-- ARGV: id, result_ttl_s
-- Reply: the job's state, or false for one that is not there.

local id, ttl_s = ARGV[1], tonumber(ARGV[2])
local state = redis.call('HGET', JOB .. id, 'state')
if state ~= 'queued' and state ~= 'running' then return state end
end_job(id, 'cancelled', ttl_s, {})
return 'cancelled'
