-- What the enemy loses of its health less what the player loses, in full health bars: a round won
-- without a scratch is 1.
--
-- Health is 176 at a round's start and below 0 after a knockout. Between rounds the game sets both
-- to 0, then to 176. Neither is paid: only losses count, and only while both fighters stand.

local FULL = 176

-- What health was, one frame ago. After a reset, or where another state is restored, the script is
-- called once without being paid.
local before = {}

-- Health lost; a knockout is 1 more than the last of it.
local function lost(was, now)
  return math.max(was - math.max(now, -1), 0) / (FULL + 1)
end

function health_difference()
  local was, now = before, { own = data.health, enemy = data.enemy_health }
  before = now
  local both_stood = was.own and was.own >= 0 and was.enemy >= 0
  local between_rounds = now.own == 0 and now.enemy == 0
  if not both_stood or between_rounds then
    return 0
  end
  return lost(was.enemy, now.enemy) - lost(was.own, now.own)
end
