-- Who is alive, and what they measured; the dead are forgotten.
-- Reply: {number alive, speeds}.

for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', '(' .. NOW)) do
  redis.call('ZREM', WORKERS, worker)
  redis.call('HDEL', SPEEDS, worker)
end
return {redis.call('ZCARD', WORKERS), redis.call('HVALS', SPEEDS)}
