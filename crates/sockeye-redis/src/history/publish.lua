-- ARGV, continued: the channel; messages.
-- Offsets are doubles here, exact below 2^53.
local count = #ARGV - 5
local offset = redis.call('HINCRBY', meta, 'offset', count) - count
local published, start = time[1] .. ' ' .. time[2], '\255SK\2' .. epoch
local digits
for at = 6, #ARGV do
    offset = offset + 1
    -- Formatting a number costs as much as a command, so it is done once.
    digits = string.format('%016.0f', offset)
    local id = digits .. '-0'
    -- Whole nodes of the stream are trimmed: it keeps up to 100 messages more, or 4 KiB.
    local sent = redis.pcall('XADD', log, 'MAXLEN', '~', ARGV[3], id, 't', published, 'm', ARGV[at])
    local is_stored = type(sent) ~= 'table'
    if is_stored then
        sent = redis.pcall('PUBLISH', ARGV[5], start .. digits .. ARGV[at])
    end
    if type(sent) == 'table' and sent.err then
        -- What the server does not like of a message it likes of none of this run: it is the first one, and the numbers behind it are not used.
        redis.call('HSET', meta, 'offset', string.format('%.0f', offset))
        if is_stored then
            redis.call('XDEL', log, id)
        end
        return sent
    end
end
if age > 0 then
    -- All are published. What the server does not like of the rest refuses none of them.
    -- One more than comes in, each by itself, since they may be long.
    for _ = 0, count do
        local oldest = redis.pcall('XRANGE', log, '-', '+', 'COUNT', 1)[1]
        if not oldest or not ended(oldest[2][2]) or redis.pcall('XDEL', log, oldest[1]) ~= 1 then
            break
        end
    end
    redis.pcall('PEXPIRE', log, ARGV[4])
    redis.pcall('PEXPIRE', meta, age + 86400000)
end
return {epoch, digits}
