// The official TypeScript SDK over streamable HTTP, as its examples have it: express, a server and a transport for
// each session, answers as event streams.
//
//   server.mjs ADDRESS, served at /mcp. The tool answers what our health_check answers.

import { randomUUID } from "node:crypto";
import { createMcpExpressApp } from "@modelcontextprotocol/sdk/server/express.js";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { isInitializeRequest } from "@modelcontextprotocol/sdk/types.js";
import { z } from "zod/v4";

const Health = {
    status: z.string(),
    version: z.string(),
    uptime_seconds: z.number(),
    store: z.string(),
    search: z.string(),
    embedding: z.string(),
    embedding_detail: z.string(),
};

function makeServer() {
    const server = new McpServer({ name: "rival", version: "0.1.0" });
    const description = "Check the server's health";
    server.registerTool("health_check", { description, inputSchema: {}, outputSchema: Health }, async () => {
        const health = {
            status: "healthy",
            version: "0.1.0",
            uptime_seconds: Math.round(process.uptime() * 1e3) / 1e3,
            store: "sqlite",
            search: "lexical",
            embedding: "off",
            embedding_detail: "it is turned off",
        };
        return { content: [{ type: "text", text: JSON.stringify(health) }], structuredContent: health };
    });
    return server;
}

const transports = new Map();
const app = createMcpExpressApp();
app.post("/mcp", async (request, response) => {
    const known = transports.get(request.headers["mcp-session-id"]);
    if (known) {
        await known.handleRequest(request, response, request.body);
    } else if (isInitializeRequest(request.body)) {
        const transport = new StreamableHTTPServerTransport({
            sessionIdGenerator: () => randomUUID(),
            onsessioninitialized: (id) => transports.set(id, transport),
        });
        await makeServer().connect(transport);
        await transport.handleRequest(request, response, request.body);
    } else {
        response.status(400).json({ jsonrpc: "2.0", error: { code: -32000, message: "no session" }, id: null });
    }
});

const [host, port] = process.argv[2].split(":");
app.listen(Number(port), host);
