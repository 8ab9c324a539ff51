-- ARGV, continued: bytes to load at most.
if age > 0 then
    redis.call('PEXPIRE', meta, age + 86400000)
end
local function id(offset)
    return string.format('%.0f-0', offset)
end
local most, room = tonumber(ARGV[3]), tonumber(ARGV[5])
local last = redis.call('HGET', meta, 'offset') or '0'
local reply, wanted, got, count = {epoch, last}, tonumber(last), 0, 4
-- The newest messages, newest first, until one is missing or too old.
while wanted > 0 and got < most do
    -- More each time, but not much more than there was room for until now.
    count = math.min(2 * count, 256)
    local entries = redis.call('XREVRANGE', log, id(wanted), '-', 'COUNT', math.min(count, most - got))
    if #entries == 0 then
        return reply
    end
    for _, entry in ipairs(entries) do
        local fields = entry[2]
        local body = fields[4]
        if got >= most or entry[1] ~= id(wanted) or fields[3] ~= 'm' or ended(fields[2]) then
            return reply
        end
        local has = many(body)
        if has > 256 then
            return reply
        end
        -- Of several the newest, as many as are wanted and there is room for.
        local at, fit = 6, has
        while has > 1 and fit > 0 and (fit > most - got or #body - at + 6 + 32 * fit > room) do
            if #body < at + 3 then
                return reply
            end
            at = at + 4 + struct.unpack('>I4', body, at)
            fit = fit - 1
        end
        if fit < has then
            if fit > 0 then
                reply[#reply + 1] = '\2' .. struct.pack('>I4', fit) .. string.sub(body, at)
            end
            return reply
        end
        room = room - #body - 32 * has
        if room < 0 then
            return reply
        end
        reply[#reply + 1] = body
        got = got + has
        wanted = wanted - has
    end
end
return reply
