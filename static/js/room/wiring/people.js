// @ts-check
/** Who is in class and whose hands are up: the list, what a teacher does about one of them, and one's own hand. */
import { participantRows } from "../models.js";
import { playTestSound } from "../test_sound.js";
import { byId, setText } from "../views/dom.js";
import { ParticipantsView } from "../views/participants.js";

/**
 * @param {object} parts
 * @param {import('../room_state.js').RoomState} parts.room
 * @param {import('../controls.js').Controls} parts.controls
 * @param {import('../watch.js').Watch} parts.watch
 * @param {import('../media/devices.js').Devices} parts.devices
 * @param {import('../views/notices.js').NoticesView} parts.notices
 * @param {import('../views/dialogs.js').DialogsView} parts.dialogs
 * @param {ReturnType<typeof import('./connections.js').wireConnections>} parts.connections
 * @param {() => void} parts.draw
 */
export function wirePeople({ room, controls, watch, devices, notices, dialogs, connections, draw }) {
  const view = new ParticipantsView(byId("people-list"), {
    mute: (id, kind) => void controls.mute(id, kind),
    remove: (id, name) => void remove(id, name),
    role: (id, role) => void controls.giveRole(id, role),
    lowerHand: (id) => void controls.lowerHand(id),
    connection: connections.open,
  });
  byId("mute-all").addEventListener("click", () => void controls.mute("all", "audio"));
  byId("lower-all").addEventListener("click", () => void controls.lowerHand("all"));

  room.on("participants", draw);
  room.on("hands", ({ raised }) => {
    if (raised && raised !== room.you.participant_id && room.can.has("lower_hands")) {
      byId("announce").textContent = `${room.nameOf(raised)} raised a hand, number ${room.handOf(raised)}`;
      void playTestSound(devices.chosen.speaker, "soft");
    }
    draw();
  });
  watch.on("handGoesDown", () => notices.show({
    key: "hand", title: "You are speaking: your hand goes down", actions: [{ label: "Keep raised", run: () => watch.keepHand() }],
  }));
  watch.on("handDown", () => {
    notices.hide("hand");
    void controls.lowerHand(room.you.participant_id);
  });

  /** @param {string} id @param {string} name */
  async function remove(id, name) {
    const sure = await dialogs.confirm({ title: `Remove ${name}?`, text: "They leave the class at once and cannot come back.", go: "Remove" });
    if (sure) await controls.remove(id);
  }

  return {
    render() {
      const { can } = room;
      view.render(participantRows(room, can, connections.qualityOf));
      setText(byId("people-title"), `Participants (${room.participants.length})`);
      byId("people-tools").hidden = !can.has("mute");
      byId("lower-all").hidden = !can.has("lower_hands") || !room.participants.some((person) => room.handOf(person.participant_id));
    },
  };
}
