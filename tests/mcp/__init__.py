"""The MCP door, through the SDK's own client and by hand, over real sockets."""
