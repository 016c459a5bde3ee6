/** Put a text into the clipboard. Returns whether that was possible. */
export async function copyText(text: string): Promise<boolean> {
  try {
    // It exists only over HTTPS and on this machine.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
