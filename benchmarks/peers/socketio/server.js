// Fan-out with Socket.IO over WebSocket only: a message posted to /publish is emitted to all viewers, and to each
// new viewer at once. Features that it doesn't need are off.
const http = require("node:http");
const { Server } = require("socket.io");

const port = Number(process.argv[2]);
let newest = null;

const server = http.createServer((request, response) => {
  if (request.url !== "/publish") return;
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    newest = JSON.parse(Buffer.concat(parts));
    io.emit("tally", newest);
    response.writeHead(202).end();
  });
});

const io = new Server(server, {
  transports: ["websocket"],
  serveClient: false,
  perMessageDeflate: false,
  httpCompression: false,
});
io.on("connection", (viewer) => {
  if (newest) viewer.emit("tally", newest);
});

server.listen({ port, host: "127.0.0.1", backlog: 4096 });
