// Fan-out with `ws`: a message posted to /publish goes to all viewers, and to each new viewer at once. Like the
// broadcast in its README, with the advice of its documentation: no compression, and the message encoded once.
const http = require("node:http");
const { WebSocketServer, WebSocket } = require("ws");

const port = Number(process.argv[2]);
let newest = null;

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    newest = Buffer.concat(parts);
    for (const viewer of sockets.clients) {
      if (viewer.readyState === WebSocket.OPEN) viewer.send(newest, { binary: false });
    }
    response.writeHead(202).end();
  });
});

const sockets = new WebSocketServer({ server, perMessageDeflate: false });
sockets.on("connection", (viewer) => {
  viewer.on("error", () => viewer.terminate());
  if (newest) viewer.send(newest, { binary: false });
});

server.listen({ port, host: "127.0.0.1", backlog: 4096 });
