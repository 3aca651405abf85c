// @ts-check
/** Media that stay up: what server, browser and network say of them, and what is done about it. */

const COMES_AGAIN = 10_000; // ms within which the other one, too, has built up anew what the last worker had

/**
 * @param {object} parts
 * @param {import('../room_state.js').RoomState} parts.room
 * @param {import('../session.js').Session} parts.session
 * @param {import('../socket.js').RoomConnection} parts.connection
 * @param {import('../media/engine.js').MediaEngine} parts.engine
 * @param {import('../watch.js').Watch} parts.watch
 * @param {Pick<import('../views/notices.js').NoticesView, 'show'>} parts.notices
 */
export function wireMedia({ room, session, connection, engine, watch, notices }) {
  const { encryption } = engine;

  room.on("event", ({ event, data, seq }) => {
    if (event === "media:restart") {
      const own = seq === undefined;
      if (!own) room.forgetProducers(engine.direct.partner);
      session.mediaRestarting();
      void engine.restart(data, { private: own }).then(() => engine.state === "up" && session.mediaBack());
    } else if (event === "consumer:closed") engine.receiver.closed(data.consumer_id);
    else if (event === "consumer:layers") engine.receiver.layers(data);
    else if (event === "p2p:changed") engine.pair(data);
    else if (event === "p2p:signal") engine.direct.signal(data);
  });
  engine.on("state", ({ state }) => {
    if (state !== "up") return;
    session.mediaBack();
    setTimeout(() => room.forgetFormer(), COMES_AGAIN);
  });
  engine.on("unknown", () => connection.reconnect());
  engine.on("unsupported", unsupported);
  encryption?.on("broken", unsupported);

  function unsupported() {
    session.mediaBack(); // as far as it goes here
    notices.show({
      key: "unsupported", level: "problem",
      title: encryption ? "This browser cannot encrypt sound and pictures" : "This browser cannot carry sound and pictures",
      text: "Chat and hands work. Use a current Chrome, Edge, Firefox or Safari to see and hear the class.",
    });
  }

  watch.on("stalled", async () => {
    engine.link?.suspect();
    if (await session.wake({ suspect: true }) && engine.receiver.expects) engine.link?.cut();
  });
  addEventListener("online", networkChanged);
  // Where browsers tell it (on phones): from Wi-Fi to the mobile network without a moment offline.
  const network = /** @type {(EventTarget & {type?: string}) | undefined} */ (/** @type {any} */ (navigator).connection);
  let networkType = network?.type;
  network?.addEventListener("change", () => {
    if (network.type !== networkType) networkChanged();
    networkType = network.type;
  });

  function networkChanged() {
    session.wake({ moved: true });
    engine.link?.moved();
  }
}
