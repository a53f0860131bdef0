"""Text2Mask and Mask2Img: made from a base, trained, saved, loaded, sampled. The only room that imports diffusers."""
