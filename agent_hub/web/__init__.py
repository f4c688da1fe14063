"""The REST and WebSocket doors: aiohttp and nothing but aiohttp."""
