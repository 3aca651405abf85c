// @ts-check
/** The stage as one picture, for a recording on this device: what the tiles show, where they are. */

const WIDTH = 1280, HEIGHT = 720; // pixels
const FPS = 20;

export class StagePicture {
  #stage;
  #canvas = document.createElement("canvas");
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #drawing;

  /** @param {HTMLElement} stage */
  constructor(stage) {
    this.#stage = stage;
    this.#canvas.width = WIDTH;
    this.#canvas.height = HEIGHT;
  }

  /** @returns {MediaStreamTrack} */
  start() {
    this.#draw();
    this.#drawing = setInterval(() => this.#draw(), 1000 / FPS);
    return this.#canvas.captureStream(FPS).getVideoTracks()[0];
  }

  stop() {
    clearInterval(this.#drawing);
  }

  #draw() {
    const pen = this.#canvas.getContext("2d");
    const whole = this.#stage.getBoundingClientRect();
    if (!pen || !whole.width || !whole.height) return;
    pen.fillStyle = "#101816";
    pen.fillRect(0, 0, WIDTH, HEIGHT);
    const scale = Math.min(WIDTH / whole.width, HEIGHT / whole.height);
    const left = (WIDTH - whole.width * scale) / 2, top = (HEIGHT - whole.height * scale) / 2;
    for (const tile of /** @type {NodeListOf<HTMLElement>} */ (this.#stage.querySelectorAll("[data-testid=tile]"))) {
      const at = tile.getBoundingClientRect();
      const box = { x: left + (at.left - whole.left) * scale, y: top + (at.top - whole.top) * scale, width: at.width * scale, height: at.height * scale };
      pen.fillStyle = "#22302c";
      pen.fillRect(box.x, box.y, box.width, box.height);
      const video = tile.querySelector("video");
      if (video?.videoWidth && !video.hidden) drawInside(pen, video, box);
      pen.fillStyle = "#ffffff";
      pen.font = "600 18px sans-serif";
      pen.fillText(tile.dataset.name ?? "", box.x + 12, box.y + box.height - 14, Math.max(0, box.width - 24));
    }
  }
}

/** All of it, as large as it fits. @param {CanvasRenderingContext2D} pen @param {HTMLVideoElement} video @param {{x: number, y: number, width: number, height: number}} box */
function drawInside(pen, video, box) {
  const scale = Math.min(box.width / video.videoWidth, box.height / video.videoHeight);
  const width = video.videoWidth * scale, height = video.videoHeight * scale;
  pen.drawImage(video, box.x + (box.width - width) / 2, box.y + (box.height - height) / 2, width, height);
}

/** The browser's own way to keep a file. @param {Blob} film @param {string} name */
export function download(film, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(film);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser has begun to read it by then
}
