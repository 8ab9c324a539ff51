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
    -- One more than comes in.
    for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', count + 1)) do
        if ended(entry[2][2]) then
            redis.call('XDEL', log, entry[1])
        end
    end
    redis.call('PEXPIRE', log, ARGV[4])
    redis.call('PEXPIRE', meta, age + 86400000)
end
return {epoch, digits}
