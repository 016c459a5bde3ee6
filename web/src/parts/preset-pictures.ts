import type { AvatarPreset } from "avatar-creator";

/** Addresses by the ids of the presets. A preset never changes its picture while the page is open. */
const addresses = new Map<string, string>();

/** Address of the picture of a preset that was read with `includeImages`. Empty if it has none. */
export function presetPicture(preset: AvatarPreset): string {
  let address = addresses.get(preset.id);
  if (address === undefined) {
    if (preset.imageData.length === 0) return "";
    address = URL.createObjectURL(new Blob([preset.imageData as Uint8Array<ArrayBuffer>], { type: "image/webp" }));
    addresses.set(preset.id, address);
  }
  return address;
}
