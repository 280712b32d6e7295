"""The engine process: the only code of the engine that knows sockets and the protocol."""
