-- ARGV, continued: the channel; the message.
offset = redis.call('HINCRBY', meta, 'offset', 1)
local id = digits(offset) .. '-0'
redis.call('XADD', log, 'MAXLEN', most, id, 't', digits(now), 'm', ARGV[6])
local sent = redis.pcall('PUBLISH', ARGV[5], '\255SK\2' .. epoch .. string.format('%016.0f', offset) .. ARGV[6])
if type(sent) == 'table' and sent.err then
    redis.call('XDEL', log, id)
    return sent
end
if age > 0 then
    -- Two at most, which is one more than comes in.
    for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', 2)) do
        if (tonumber(entry[2][2]) or 0) + age <= now then
            redis.call('XDEL', log, entry[1])
        end
    end
    redis.call('PEXPIRE', log, age)
    redis.call('PEXPIRE', meta, age + 86400000)
else
    redis.call('PERSIST', log)
    redis.call('PERSIST', meta)
end
return {epoch, digits(offset)}
