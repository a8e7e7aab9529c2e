-- Ends a job that waits or runs, for its caller. Its worker is told at its next beat. Again changes nothing.
-- ARGV: id, result_ttl_s
-- Reply: the job's state and whether this call ended it (0 or 1), or false for a job that is not there.

local id, ttl_s = ARGV[1], tonumber(ARGV[2])
local state = redis.call('HGET', JOB .. id, 'state')
if not state then return false end
if state ~= 'queued' and state ~= 'running' then return {state, 0} end
end_job(id, 'cancelled', ttl_s, {})
return {'cancelled', 1}
