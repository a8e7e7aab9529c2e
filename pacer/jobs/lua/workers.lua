-- Who is alive, what they measured, and what is still to be done; the dead are forgotten.
-- Reply: {number alive, speeds, now, work: slot and forwards in turn, owed: owner and forwards in turn}.

for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', '(' .. NOW)) do
  redis.call('ZREM', WORKERS, worker)
  redis.call('HDEL', SPEEDS, worker)
end
return {redis.call('ZCARD', WORKERS), redis.call('HVALS', SPEEDS), NOW, redis.call('HGETALL', WORK),
  redis.call('HGETALL', OWED)}
