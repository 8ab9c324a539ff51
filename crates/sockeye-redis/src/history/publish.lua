-- ARGV, continued: the channel; by what old messages are dropped; bodies, of several messages each only if that is MINID.
-- Offsets are doubles here, exact below 2^53.
local count = 0
for at = 7, #ARGV do
    count = count + many(ARGV[at])
end
local offset = redis.call('HINCRBY', meta, 'offset', count) - count
local published, start = time[1] .. ' ' .. time[2], '\255SK\2' .. epoch
local digits
for at = 7, #ARGV do
    local body, bound = ARGV[at], ARGV[3]
    offset = offset + many(body)
    -- Formatting a number costs as much as a command, so it is done once.
    digits = string.format('%016.0f', offset)
    if ARGV[6] == 'MINID' then
        -- An entry has the number of its last message, so it stays while one of its messages is wanted.
        bound = string.format('%.0f', math.max(offset - bound + 1, 0))
    end
    local id = digits .. '-0'
    -- Whole nodes of the stream are dropped: it keeps up to 100 entries more, or 4 KiB.
    local sent = redis.pcall('XADD', log, ARGV[6], '~', bound, id, 't', published, 'm', body)
    local is_stored = type(sent) ~= 'table'
    if is_stored then
        sent = redis.pcall('PUBLISH', ARGV[5], start .. digits .. body)
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
    for _ = 6, #ARGV do
        local oldest = redis.pcall('XRANGE', log, '-', '+', 'COUNT', 1)[1]
        if not oldest or not ended(oldest[2][2]) or redis.pcall('XDEL', log, oldest[1]) ~= 1 then
            break
        end
    end
    redis.pcall('PEXPIRE', log, ARGV[4])
    redis.pcall('PEXPIRE', meta, age + 86400000)
end
return {epoch, digits}
