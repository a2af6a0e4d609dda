// Speaks Streamable HTTP to the conformance suite and WebSocket to the server, so that the suite, which knows HTTP
// only, can judge what the server says over WebSocket: one text message is one JSON-RPC message, subprotocol `mcp`.
//
//   node gateway.mjs ws://127.0.0.1:PORT/     prints `listening PORT` when it serves http://127.0.0.1:PORT/mcp
//
// It translates and judges nothing: messages pass as they are, and whatever is a matter of HTTP alone (headers, hosts,
// resumption) is not here; http-only.txt names the checks that are about those.
//
// Modern era: one WebSocket for each POST. A connection means nothing there, so an id may occur on many at once, and
// a client that goes away takes its request with it. Legacy era: one WebSocket for each session.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

const LEGACY = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'];
// Errors that the modern binding answers with a status of their own; all others are answers like any other.
const STATUS = { [-32601]: 404, [-32700]: 400, [-32600]: 400, [-32602]: 400, [-32021]: 400, [-32022]: 400 };
const upstream = process.argv[2];
const sessions = new Map();

async function connect(receive, end) {
  const socket = new WebSocket(upstream, 'mcp');
  socket.onmessage = ({ data }) => receive(JSON.parse(data));
  await new Promise((opened, failed) => {
    socket.onopen = opened;
    socket.onclose = () => failed(new Error('no WebSocket'));
  });
  socket.onclose = end;
  return socket;
}

const isAnswer = (message) => !('method' in message);

// The answer to one POST: a lone response is JSON, what has anything before it is a stream.
class Reply {
  constructor(request, response, modern, headers = {}) {
    Object.assign(this, { id: request.id, response, modern, headers });
    this.progressToken = request.params?._meta?.progressToken;
  }

  write(message) {
    const { response } = this;
    const last = isAnswer(message);
    if (!response.headersSent && last) {
      const status = (this.modern && STATUS[message.error?.code]) || 200;
      response.writeHead(status, { 'content-type': 'application/json', ...this.headers }).end(JSON.stringify(message));
      return;
    }
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'text/event-stream', ...this.headers });
    response.write(`event: message\ndata: ${JSON.stringify(message)}\n\n`);
    if (last) response.end();
  }

  // The server is gone.
  end() {
    if (!this.response.headersSent) this.response.writeHead(502);
    this.response.end();
  }
}

async function modern(message, response) {
  const reply = new Reply(message, response, true);
  const socket = await connect((answer) => reply.write(answer), () => reply.end());
  response.on('close', () => socket.close());
  socket.send(JSON.stringify(message));
  if (!('id' in message)) response.writeHead(202).end();
}

class Session {
  replies = [];

  // A WebSocket does not say which request a message belongs to, save by id or progress token; the rest goes with the
  // youngest request.
  receive(message) {
    const token = message.method === 'notifications/progress' ? message.params?.progressToken : undefined;
    const reply = isAnswer(message)
      ? this.replies.find(({ id }) => id === message.id)
      : (token !== undefined && this.replies.find(({ progressToken }) => progressToken === token)) || this.replies.at(-1);
    reply?.write(message);
    if (isAnswer(message)) this.forget(reply);
  }

  forget(reply) {
    this.replies = this.replies.filter((other) => other !== reply);
  }

  async open() {
    const end = () => this.replies.forEach((reply) => reply.end());
    this.socket = await connect((message) => this.receive(message), end);
  }

  // Takes a request, a notification, or the answer to a request of the server.
  post(message, response, headers) {
    if ('id' in message && !isAnswer(message)) {
      const reply = new Reply(message, response, false, headers);
      this.replies.push(reply);
      response.on('close', () => this.forget(reply));
    } else {
      response.writeHead(202).end();
    }
    this.socket.send(JSON.stringify(message));
  }
}

async function legacy(message, response, name) {
  if (message.method === 'initialize') {
    const session = new Session();
    await session.open();
    const id = randomUUID();
    sessions.set(id, session);
    session.post(message, response, { 'mcp-session-id': id });
  } else if (sessions.has(name)) {
    sessions.get(name).post(message, response);
  } else {
    response.writeHead(name === undefined ? 400 : 404).end();
  }
}

async function handle(request, response) {
  const { 'mcp-protocol-version': version, 'mcp-session-id': name } = request.headers;
  if (request.method === 'DELETE' && sessions.has(name)) {
    sessions.get(name).socket.close();
    sessions.delete(name);
    response.writeHead(200).end();
  } else if (request.method === 'POST') {
    let text = '';
    for await (const part of request.setEncoding('utf8')) text += part;
    const message = JSON.parse(text);
    await (version === undefined || LEGACY.includes(version) ? legacy(message, response, name) : modern(message, response));
  } else {
    response.writeHead(405).end();
  }
}

const server = createServer((request, response) =>
  handle(request, response).catch((error) => {
    console.error(error);
    response.writeHead(502).end();
  }),
);
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
