from lupa.lua51 import LuaRuntime as LuaRuntime
from lupa.lua51 import lua_type as lua_type
