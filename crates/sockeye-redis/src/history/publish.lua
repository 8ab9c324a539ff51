-- ARGV, continued: the channel; the message.
-- Offsets are doubles here, exact below 2^53. Formatting one costs as much as a command, so it is done once.
local offset = string.format('%016.0f', redis.call('HINCRBY', meta, 'offset', 1))
local id = offset .. '-0'
-- Whole nodes of the stream are trimmed: it keeps up to 100 messages more, or 4 KiB.
redis.call('XADD', log, 'MAXLEN', '~', ARGV[3], id, 't', time[1] .. ' ' .. time[2], 'm', ARGV[6])
local sent = redis.pcall('PUBLISH', ARGV[5], '\255SK\2' .. epoch .. offset .. ARGV[6])
if type(sent) == 'table' and sent.err then
    redis.call('XDEL', log, id)
    return sent
end
if age > 0 then
    -- Two at most, which is one more than comes in.
    for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', 2)) do
        if ended(entry[2][2]) then
            redis.call('XDEL', log, entry[1])
        end
    end
    redis.call('PEXPIRE', log, ARGV[4])
    redis.call('PEXPIRE', meta, age + 86400000)
end
return {epoch, offset}
