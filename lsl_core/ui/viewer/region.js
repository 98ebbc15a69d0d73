/* Hands a part of an image to the viewer, so that the message with all objects is not sent again. */

export default function ({data}) {
  if (!data?.byteLength) return;
  const length = new DataView(data.buffer, data.byteOffset).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(data.subarray(4, 4 + length)));
  const detail = {...head, jpeg: data.slice(4 + length)};
  (window.lslRegions ??= new Map()).set(head.key, detail); // for a viewer that is drawn after us
  window.dispatchEvent(new CustomEvent("lsl-region", {detail}));
}
