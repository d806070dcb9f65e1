#!lua name=dirpipe_@ID@
-- The Redis side of the store (store.h): everything that is written goes through these functions, fenced by the
-- epoch's number and nonce. The library's name ends in a hash of this text, so that two versions of the broker can
-- live on one server. Every key of a realm has the same hash tag; KEYS names those that route the call.

local function fenced(what)
	return redis.error_reply('FENCED ' .. what)
end

-- The epoch key is "NUMBER NONCE FORMAT RUN_ID FLAG"; a fence is its first two words and the space behind them.
local function epoch_is(key, fence)
	local epoch = redis.call('GET', key)
	return epoch and string.sub(epoch, 1, #fence) == fence
end

local kinds = {
	HSET = 'hash', HDEL = 'hash', DEL = 'hash', CLAIM = 'hash', hset = 'user', hdel = 'user', FETCH = 'user',
	ZADD = 'zset', ZREM = 'zset', SADD = 'set', SREM = 'set', LOG = 'stream',
}

-- Nothing may fail once writing has begun: a key that holds another type is found before. The keys of users (their commands
-- are written small) are spared that: they come from a load, which sets aside what is no hash. Were one overwritten by somebody
-- since, the page ends in its middle, behind the indexes and before the cursor: the next load sets it aside, and what the page
-- was to do is found again.
local function check_types(argv, first)
	local seen = {}
	local i = first
	while i <= #argv do
		local want, key = kinds[argv[i + 1]], argv[i + 2]
		if not want then
			return 'ERR unknown command in a page: ' .. tostring(argv[i + 1])
		end
		if want ~= 'user' then
			local is = seen[key]
			if not is then
				is = redis.call('TYPE', key).ok
				seen[key] = is
			end
			if is ~= 'none' and is ~= want then
				return 'WRONGTYPE ' .. key .. ' holds a ' .. is .. ', not a ' .. want
			end
		end
		i = i + 1 + tonumber(argv[i])
	end
	return nil
end

local function text_of_id(id)
	local hex = {}
	for i = 1, 16 do
		hex[i] = string.format('%02x', string.byte(id, i))
	end
	local t = table.concat(hex)
	return string.sub(t, 1, 8) .. '-' .. string.sub(t, 9, 12) .. '-' .. string.sub(t, 13, 16) .. '-'
		.. string.sub(t, 17, 20) .. '-' .. string.sub(t, 21, 32)
end

-- What may refer to an account: the remote id in a packed link (store_rows.h): version 1, state 1, revision 8, length 2, rid,
-- memory. State 4 is deleted (wire.h).
local function rid_of(link)
	if not link or #link < 12 or string.byte(link, 1) ~= 1 or string.byte(link, 2) == 4 then
		return ''
	end
	local n = struct.unpack('<I2', link, 11)
	return string.sub(link, 13, 12 + n)
end

-- The wire_rid records of a user's references at one target; refs: version 1, count 4, wire_ref records.
local function rids_of(refs, field, prefix)
	if not refs or #refs < 5 or string.byte(refs, 1) ~= 1 then
		return 0, ''
	end
	local count = struct.unpack('<I4', refs, 2)
	local at, out = 6, {}
	for i = 1, count do
		local name, id
		name, id, at = struct.unpack('<I4c0c16', refs, at)
		local rid = rid_of(redis.call('HGET', prefix .. text_of_id(id), field))
		out[i] = struct.pack('<I4c0', #name, name) .. id .. struct.pack('<I4c0', #rid, rid)
	end
	return count, table.concat(out)
end

-- FETCH user-key link-field applied-field user-prefix: what a task carries; the applied fingerprint is removed.
local function fetch(argv, i)
	local key, link, applied, prefix = argv[i + 2], argv[i + 3], argv[i + 4], argv[i + 5]
	local got = redis.call('HMGET', key, 'u', 'd', 'r', link, applied)
	local count, rids = rids_of(got[3], link, prefix)
	if got[5] then
		redis.call('HDEL', key, applied)
	end
	return { got[1], got[2], got[4], got[5], count, rids }
end

-- CLAIM key, field and value of each: what nobody has claimed yet; a claim is never overwritten.
local function claim(argv, i, n)
	local key, fields, free = argv[i + 2], {}, {}
	for k = i + 3, i + n, 2 do
		fields[#fields + 1] = argv[k]
	end
	local got = redis.call('HMGET', key, unpack(fields))
	for k, field in ipairs(fields) do
		if not got[k] and not free[field] then
			free[field] = true
			free[#free + 1] = field
			free[#free + 1] = argv[i + 2 + 2 * k]
		end
	end
	if #free > 0 then
		redis.call('HSET', key, unpack(free))
	end
end

-- LOG key, about how many to keep, lines.
local function log(argv, i, n)
	for k = i + 4, i + n do
		redis.call('XADD', argv[i + 2], '*', 'j', argv[k])
	end
	redis.call('XTRIM', argv[i + 2], 'MAXLEN', '~', argv[i + 3])
end

-- KEYS: epoch, page. ARGV: fence, number of the page before, this page's, then commands: how many words, the words.
local function page(keys, argv)
	if not epoch_is(keys[1], argv[1]) then
		return fenced('epoch')
	end
	local before = redis.call('GET', keys[2]) or '0'
	if before ~= argv[2] then
		return fenced('page ' .. before .. ' is stored, not ' .. argv[2])
	end
	local wrong = check_types(argv, 4)
	if wrong then
		return redis.error_reply(wrong)
	end
	local tasks = {}
	local i = 4
	while i <= #argv do
		local n, name = tonumber(argv[i]), argv[i + 1]
		if name == 'FETCH' then
			tasks[#tasks + 1] = fetch(argv, i)
		elseif name == 'CLAIM' then
			claim(argv, i, n)
		elseif name == 'LOG' then
			log(argv, i, n)
		else
			redis.call(unpack(argv, i + 1, i + n))
		end
		i = i + 1 + n
	end
	redis.call('SET', keys[2], argv[3])
	return tasks
end

-- KEYS: active, epoch, page. ARGV: who, ttl ms, highest epoch that a peer reported, nonce, our format, 'emptied' or '', who is
-- known to be dead.
local function take(keys, argv)
	local active = redis.call('GET', keys[1])
	if active and active ~= argv[1] and active ~= argv[7] then
		return { 'standby', active }
	end
	local epoch, last = redis.call('GET', keys[2]), redis.call('GET', keys[3]) or '0'
	local stored, format, run_id, flag = 0, 0, '-', '-'
	if epoch then
		local a, _, b, c, d = string.match(epoch, '^(%d+) (%x+) (%d+) (%S+) (%S+)$')
		if not a then
			return { 'foreign', epoch }
		end
		stored, format, run_id, flag = tonumber(a), tonumber(b), c, d
	end
	if format > tonumber(argv[5]) then
		return { 'newer', tostring(format) }
	end
	local time = redis.call('TIME')
	local now = time[1] * 1000 + math.floor(time[2] / 1000)
	local highest = tonumber(argv[3])
	local number = math.max(stored + 1, now, highest + 1)
	if highest > stored or argv[6] == 'emptied' then
		flag = 'emptied'
	end
	redis.call('SET', keys[1], argv[1], 'PX', argv[2])
	redis.call('SET', keys[2], string.format('%.0f %s %s %s %s', number, argv[4], argv[5], run_id, flag))
	return { 'active', string.format('%.0f', number), last, string.format('%.0f', stored), run_id, flag,
		string.format('%.0f', now) }
end

-- KEYS: active, epoch. ARGV: who, ttl ms, fence. Gives the server's time.
local function renew(keys, argv)
	local active = redis.call('GET', keys[1])
	if (active and active ~= argv[1]) or not epoch_is(keys[2], argv[3]) then
		return fenced('another broker is active')
	end
	redis.call('SET', keys[1], argv[1], 'PX', argv[2])
	local time = redis.call('TIME')
	return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end

-- KEYS: active. ARGV: who.
local function release(keys, argv)
	if redis.call('GET', keys[1]) == argv[1] then
		redis.call('DEL', keys[1])
	end
	return 'OK'
end

-- KEYS: epoch. ARGV: fence, format, run_id: what this server holds is whole again.
local function settle(keys, argv)
	if not epoch_is(keys[1], argv[1]) then
		return fenced('epoch')
	end
	redis.call('SET', keys[1], argv[1] .. argv[2] .. ' ' .. argv[3] .. ' -')
	return 'OK'
end

-- KEYS: epoch, key, where to. ARGV: fence. A foreign or broken record is set aside, never overwritten.
local function quarantine(keys, argv)
	if not epoch_is(keys[1], argv[1]) then
		return fenced('epoch')
	end
	local to = keys[3]
	local i = 1
	while redis.call('EXISTS', to) == 1 do
		i = i + 1
		to = keys[3] .. ':' .. i
	end
	if redis.call('EXISTS', keys[2]) == 1 then
		redis.call('RENAME', keys[2], to)
	end
	return to
end

-- KEYS: epoch. ARGV: cursor, count, prefix, fields of a user. Gives the next cursor, then rows of three kinds:
-- 'u' id-text value..., 'w' TARGET:id-text members, 'x' key why.
local function load(keys, argv)
	local prefix = argv[3]
	local got = redis.call('SCAN', argv[1], 'MATCH', prefix .. '*', 'COUNT', argv[2])
	local out = { got[1] }
	for _, key in ipairs(got[2]) do
		local rest = string.sub(key, #prefix + 1)
		if string.sub(rest, 1, 5) == 'user:' then
			local row = redis.pcall('HMGET', key, unpack(argv, 4))
			if row.err then
				out[#out + 1], out[#out + 2], out[#out + 3] = 'x', key, row.err
			else
				out[#out + 1] = 'u'
				out[#out + 1] = string.sub(rest, 6)
				for i = 1, #argv - 3 do
					out[#out + 1] = row[i]
				end
			end
		elseif string.sub(rest, 1, 8) == 'waiters:' then
			local members = redis.pcall('SMEMBERS', key)
			if members.err then
				out[#out + 1], out[#out + 2], out[#out + 3] = 'x', key, members.err
			else
				out[#out + 1] = 'w'
				out[#out + 1] = string.sub(rest, 9)
				out[#out + 1] = members
			end
		end
	end
	return out
end

-- KEYS: users. Gives 'u' and 'g' of each.
local function known(keys)
	local out = {}
	for i, key in ipairs(keys) do
		local row = redis.call('HMGET', key, 'u', 'g')
		out[2 * i - 1], out[2 * i] = row[1], row[2]
	end
	return out
end

-- KEYS: users. ARGV: fields. Gives these of each.
local function people(keys, argv)
	local out = {}
	for i, key in ipairs(keys) do
		out[i] = redis.call('HMGET', key, unpack(argv))
	end
	return out
end

-- KEYS: the user, then per target its stuck and flight. ARGV: the 16 bytes of the id.
local function user(keys, argv)
	local out = { redis.call('HGETALL', keys[1]) }
	for i = 2, #keys do
		out[i] = redis.call('HGET', keys[i], argv[1])
	end
	return out
end

-- KEYS: users. ARGV: link field, applied field, entry field, prefix of users. What a task would carry of each, and its entry;
-- nothing is taken away.
local function peek(keys, argv)
	local out = {}
	for i, key in ipairs(keys) do
		local got = redis.call('HMGET', key, 'u', 'd', 'r', argv[1], argv[2], argv[3])
		local count, rids = rids_of(got[3], argv[1], argv[4])
		out[i] = { got[1], got[2], got[4], got[5], count, rids, got[6] }
	end
	return out
end

-- KEYS: epoch. ARGV: cursor, count, prefix, text in lower case. Gives the next cursor, then the ids of users whose snapshot holds
-- the text, whatever its case.
local function find(keys, argv)
	local prefix = argv[3] .. 'user:'
	local got = redis.call('SCAN', argv[1], 'MATCH', prefix .. '*', 'COUNT', argv[2], 'TYPE', 'hash')
	local out = { got[1] }
	for _, key in ipairs(got[2]) do
		local snapshot = redis.call('HGET', key, 'd')
		if snapshot and string.find(string.lower(snapshot), argv[4], 1, true) then
			out[#out + 1] = string.sub(key, #prefix + 1)
		end
	end
	return out
end

-- While a library is loaded there is no pairs().
redis.register_function('dirpipe_page_@ID@', page)
redis.register_function('dirpipe_take_@ID@', take)
redis.register_function('dirpipe_renew_@ID@', renew)
redis.register_function('dirpipe_release_@ID@', release)
redis.register_function('dirpipe_settle_@ID@', settle)
redis.register_function('dirpipe_quarantine_@ID@', quarantine)
redis.register_function({ function_name = 'dirpipe_load_@ID@', callback = load, flags = { 'no-writes' } })
redis.register_function({ function_name = 'dirpipe_known_@ID@', callback = known, flags = { 'no-writes' } })
redis.register_function({ function_name = 'dirpipe_peek_@ID@', callback = peek, flags = { 'no-writes' } })
redis.register_function({ function_name = 'dirpipe_find_@ID@', callback = find, flags = { 'no-writes' } })
redis.register_function({ function_name = 'dirpipe_people_@ID@', callback = people, flags = { 'no-writes' } })
redis.register_function({ function_name = 'dirpipe_user_@ID@', callback = user, flags = { 'no-writes' } })
