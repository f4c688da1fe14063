"""The MCP door: five tools for IDEs, on the same queues as every other door."""
