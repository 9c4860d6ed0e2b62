"""The Open Inference Protocol (V2) over gRPC, in the process and the event loop of the HTTP server.

What is here needs the extra `grpc`, and is loaded where a port for gRPC is asked for.
"""
