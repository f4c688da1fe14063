"""Sign-in from MCP clients: an OAuth 2.1 authorization server on the SDK's handlers."""
